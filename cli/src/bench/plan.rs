//! What a bench is to do, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BenchArgs, Kind};
use crate::failure::{Failure, Result};

const SIZE_DEFAULT: u64 = 1 << 30;
const OP_SIZE_DEFAULT: u64 = 1 << 20;
const RECORD_SIZE_DEFAULT: u64 = 1 << 10;
const MIXED_OP_SIZE_DEFAULT: u64 = 256 << 10;
const IDLE_OP_SIZE_DEFAULT: u64 = 4 << 10;
const TIME_DEFAULT: Duration = Duration::from_secs(5);
/// Largest operation: a caller holds a few of them.
const OP_SIZE_MAX: u64 = 64 << 20;
/// From this size on operations stream; smaller ones wait for their answers.
const STREAM_BYTES: u64 = 1 << 20;

/// What is to be done, checked. Processes that a bench starts get it as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) clients: u32,
    pub(super) connections: u32,
    /// Processes for the callers; 0: this one.
    pub(super) processes: u32,
    /// Operations of each caller, at most.
    pub(super) ops_each: u64,
    pub(super) op_bytes: u64,
    /// Files of `list`.
    pub(super) files: u64,
    pub(super) random: bool,
    pub(super) verify: bool,
    pub(super) seconds: Option<Duration>,
    pub(super) path: Option<String>,
    pub(super) keep: bool,
}

impl Plan {
    pub(super) fn new(args: &BenchArgs) -> Result<Self> {
        let kind = args.bench;
        let moves_files = matches!(kind, Kind::Write | Kind::Read | Kind::Mixed);
        if args.random && !matches!(kind, Kind::Write | Kind::Read) {
            return Err(Failure::usage("--random: only for write and read"));
        }
        let op_default = match kind {
            Kind::Append => RECORD_SIZE_DEFAULT,
            Kind::Mixed => MIXED_OP_SIZE_DEFAULT,
            Kind::Idle => IDLE_OP_SIZE_DEFAULT,
            _ => OP_SIZE_DEFAULT,
        };
        let op_bytes = args.op_size.map_or(op_default, |size| size.0);
        if !(1..=OP_SIZE_MAX).contains(&op_bytes) {
            return Err(Failure::usage("--op-size: from 1B to 64MiB"));
        }
        let clients = args.clients.max(args.processes);
        let size = args.size.map(|size| size.0).or(moves_files.then_some(SIZE_DEFAULT));
        let ops_each = match size {
            Some(size) if moves_files || kind == Kind::Append => {
                (size / u64::from(clients) / op_bytes).max(1)
            }
            _ if kind == Kind::Idle => 1,
            _ => u64::MAX,
        };
        let ends_by_itself = ops_each != u64::MAX && !matches!(kind, Kind::Mixed | Kind::Idle);
        let seconds = match kind {
            Kind::List => None,
            _ => args.seconds.or((!ends_by_itself).then_some(TIME_DEFAULT)),
        };
        Ok(Self {
            kind,
            clients,
            connections: if kind == Kind::Idle { clients } else { args.connections.min(clients) },
            processes: args.processes,
            ops_each,
            op_bytes,
            files: args.files,
            random: args.random,
            verify: args.verify,
            seconds,
            path: args.path.clone(),
            keep: args.keep,
        })
    }

    /// Bytes of each caller's file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.ops_each.saturating_mul(self.op_bytes)
    }

    /// Whether files must be full before the measurement.
    pub(super) fn needs_files(&self) -> bool {
        match self.kind {
            Kind::Read | Kind::Mixed => true,
            Kind::Write => self.random,
            _ => false,
        }
    }

    /// Whether operations follow one another without waiting for each answer.
    pub(super) fn streams(&self) -> bool {
        !self.random && self.op_bytes >= STREAM_BYTES
    }

    /// How often to look at the memory of all roles while it runs: not where it is the processor time that matters.
    pub(super) fn watch_every(&self) -> Option<Duration> {
        match self.kind {
            Kind::List => Some(Duration::from_millis(100)),
            Kind::Mixed => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn plan(line: &str) -> Result<Plan> {
        Plan::new(&Line::try_parse_from(line.split(' ')).unwrap().bench)
    }

    #[test]
    fn the_work_is_shared_out() {
        let write = plan("bench write --clients 4 --size 1GiB --op-size 1MiB").unwrap();
        assert_eq!((write.ops_each, write.file_bytes()), (256, 256 << 20));
        assert_eq!(write.seconds, None);
        let append = plan("bench append --seconds 2").unwrap();
        assert_eq!((append.ops_each, append.op_bytes), (u64::MAX, 1 << 10));
        let create = plan("bench create --size 8MiB").unwrap();
        assert_eq!((create.ops_each, create.seconds), (u64::MAX, Some(TIME_DEFAULT)));
        assert_eq!(plan("bench write --clients 9 --size 1KiB").unwrap().ops_each, 1);
    }

    #[test]
    fn every_process_has_a_caller_and_only_a_mixture_goes_round() {
        assert_eq!(plan("bench stat --processes 3").unwrap().clients, 3);
        assert_eq!(plan("bench stat --processes 3 --clients 5").unwrap().clients, 5);
        let mixed = plan("bench mixed --clients 64").unwrap();
        assert_eq!((mixed.file_bytes(), mixed.seconds), (16 << 20, Some(TIME_DEFAULT)));
        assert_eq!(plan("bench list --seconds 1").unwrap().seconds, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["bench write --op-size 0", "bench read --op-size 65MiB", "bench stat --random"]
        {
            assert_eq!(plan(line).unwrap_err().exit_status(), 2, "{line}");
        }
    }
}
