//! Reading durable records while the log is being appended to.

use std::path::PathBuf;
use std::sync::Arc;

use gfs_types::fence::LogPosition;
use gfs_types::ids::ClusterUid;

use super::cursor::Place;
use super::open::{Ended, damaged, deliver};
use super::segment;
use super::{BoxError, OpenError, Proof, Visitor};
use crate::fs::{Fs, Open};

/// Reads durable records beside the log that is appended to; for another thread.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) cluster_uid: ClusterUid,
}

impl Reader {
    /// Gives the records from `from` to `to`, both included, to `visitor`. `to` must be durable:
    /// bytes beyond it may be in the middle of being written. Segments before `from` may be removed
    /// meanwhile, later ones must not.
    pub fn read<E: Into<BoxError>>(
        &self,
        from: LogPosition,
        to: LogPosition,
        visitor: &mut Visitor<'_, E>,
    ) -> Result<(), OpenError> {
        if to < from {
            return Ok(());
        }
        let mut done = false;
        let mut bounded = |position, epoch, payload: &[u8]| -> Result<(), BoxError> {
            if position > to {
                done = true;
                return Err("the end of the range".into());
            }
            visitor(position, epoch, payload).map_err(Into::into)
        };
        match self.segments(from, to, &mut bounded) {
            Err(OpenError::Refused { .. }) if done => Ok(()),
            result => result,
        }
    }

    fn segments(
        &self,
        from: LogPosition,
        to: LogPosition,
        visitor: &mut Visitor<'_, BoxError>,
    ) -> Result<(), OpenError> {
        let mut before: Option<Ended> = None;
        for first in self.firsts(from)? {
            if first > to.0 {
                break;
            }
            let segment = segment::load(&*self.fs, &self.dir, first, self.cluster_uid, Open::Read)?;
            if let Some(before) = &before {
                before.check_next(&segment)?;
            }
            let start = Place::start(&segment.header, segment.seed);
            let place = deliver(segment.seed, &segment.bytes, start, from.0, visitor)?;
            before = Some(Ended::new(&segment, place));
        }
        match before {
            Some(end) if end.place.next <= to.0 => {
                Err(damaged(&end.path, &end.place, Proof::Caller))
            }
            _ => Ok(()),
        }
    }

    /// The segments that may hold `from` and what follows.
    fn firsts(&self, from: LogPosition) -> Result<Vec<u64>, OpenError> {
        let mut firsts = segment::list(&*self.fs, &self.dir)?;
        let needed = firsts.partition_point(|first| *first <= from.0.max(1));
        if needed == 0 {
            let first = LogPosition(firsts.first().copied().unwrap_or(0));
            return Err(OpenError::BeginsLate { dir: self.dir.clone(), first, needed: from });
        }
        Ok(firsts.split_off(needed - 1))
    }
}
