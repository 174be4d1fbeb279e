//! A crew in a pod: it uses a cluster while things break, and says afterwards whether all it was told is true.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::command::until;
use super::gfs_cluster::GfsCluster;
use super::toolbox::{LOAD, Toolbox, client_pod};

/// A test of a crew that did less says nothing.
const DONE_MIN: [(&str, u64); 5] =
    [("appends", 50), ("changes", 10), ("contended", 10), ("overwrites", 10), ("reads", 10)];
const WORKS_WITHIN: Duration = Duration::from_secs(60);
/// All replicas are equal after so much calm, and compared within it.
const EQUAL_WITHIN_SECONDS: u64 = 120;

/// A pod with a crew at work.
#[derive(Debug)]
pub struct CrewPod<'n> {
    /// With `gfs` beside the crew.
    pub toolbox: Toolbox<'n>,
}

/// The longest silences since this was asked last.
#[derive(Debug, Clone, Copy)]
pub struct Silences {
    /// In which no write of any kind was acknowledged.
    pub writes: Duration,
    /// In which nothing was read.
    pub reads: Duration,
}

impl<'n> CrewPod<'n> {
    /// Sets a crew to work, on this node if one is named.
    ///
    /// # Errors
    /// When it does not work in time.
    pub fn start(cluster: &GfsCluster<'n>, node: Option<&str>) -> Result<Self> {
        let mut pod = client_pod(cluster, "crew", &[LOAD, "serve"])?;
        if let Some(node) = node {
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        }
        let crew = Self { toolbox: Toolbox::run(cluster.namespace, &pod)? };
        until("the crew to work", WORKS_WITHIN, || crew.has_done_enough())?;
        crew.silences()?;
        Ok(crew)
    }

    /// Waits until every appender was told of a record again, and everything else that the crew does was done, too; gives how long that took.
    ///
    /// # Errors
    /// When one was not in time, or when something was wrong.
    pub fn resumed(&self, within: Duration) -> Result<Duration> {
        let (begun, before) = (Instant::now(), self.counts()?);
        self.ask(&["resumed", &within.as_secs().to_string()])?;
        let left = within.saturating_sub(begun.elapsed());
        until("everything the crew does", left, || self.has_grown(&before, 1))?;
        Ok(begun.elapsed())
    }

    /// What was acknowledged so far, by what it is.
    fn counts(&self) -> Result<Value> {
        self.ask(&["counts"])
    }

    fn has_done_enough(&self) -> Result<()> {
        let now = self.counts()?;
        DONE_MIN.iter().try_for_each(|(what, least)| grown(&now, &Value::Null, what, *least))
    }

    fn has_grown(&self, before: &Value, least: u64) -> Result<()> {
        let now = self.counts()?;
        DONE_MIN.iter().try_for_each(|(what, _)| grown(&now, before, what, least))
    }

    /// Records that were acknowledged so far.
    ///
    /// # Errors
    /// When something was wrong.
    pub fn appends(&self) -> Result<u64> {
        self.counts()?["appends"].as_u64().context("a count of appends")
    }

    /// The longest silences since this was asked last.
    ///
    /// # Errors
    /// When something was wrong.
    pub fn silences(&self) -> Result<Silences> {
        let told = self.ask(&["silences"])?;
        let time = |name: &str| -> Result<Duration> {
            Ok(Duration::from_millis(told[name].as_u64().context("milliseconds")?))
        };
        Ok(Silences { writes: time("writes")?, reads: time("reads")? })
    }

    /// The crew rests; all replicas become equal, and all that is stored is compared with all that was told.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub fn check(&self) -> Result<()> {
        let counts = self.ask(&["check", &EQUAL_WITHIN_SECONDS.to_string()])?;
        println!("nothing acknowledged is lost of {counts}");
        // A replica may be made equal once more behind a lease that ended meanwhile: it shows nothing until it is.
        until("fsck to find nothing", WORKS_WITHIN, || {
            self.toolbox.gfs(&["fsck", "--replicas", "/"]).map(drop)
        })
    }

    /// Goes on after [`Self::check`].
    ///
    /// # Errors
    /// When something was wrong.
    pub fn resume(&self) -> Result<()> {
        self.ask(&["resume"]).map(drop)
    }

    fn ask(&self, words: &[&str]) -> Result<Value> {
        let answer = self.toolbox.exec(&[&[LOAD, "ask"], words].concat())?;
        serde_json::from_str(&answer).with_context(|| format!("an answer of the crew: {answer}"))
    }
}

fn grown(now: &Value, before: &Value, what: &str, least: u64) -> Result<()> {
    let count = |counts: &Value| counts[what].as_u64().unwrap_or(0);
    let (now, before) = (count(now), count(before));
    ensure!(now >= before + least, "{what}: {now}, after {before}; {least} more are asked for");
    Ok(())
}
