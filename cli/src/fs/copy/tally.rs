//! What came of many copies: they go on after an error, and the exit status remembers it.

use tokio::task::JoinSet;

use crate::failure::{Failure, Result, Status};
use crate::progress::Progress;

/// After so many errors the next will not be better.
const PROBLEMS_MAX: u64 = 20;

/// Copies in flight and what came of those that ended.
pub(crate) struct Tally {
    running: JoinSet<Result<()>>,
    jobs: usize,
    problems: u64,
    unknown: bool,
    skipped_links: u64,
    progress: Progress,
    started: u64,
    /// The only problem so far, not told yet: where one file was asked for, it is all there is to say.
    only: Option<Failure>,
}

impl Tally {
    pub(crate) fn new(jobs: u16, progress: Progress) -> Self {
        let running = JoinSet::new();
        let jobs = usize::from(jobs.max(1));
        Self {
            running,
            jobs,
            problems: 0,
            unknown: false,
            skipped_links: 0,
            progress,
            started: 0,
            only: None,
        }
    }

    /// Starts a copy as soon as there is room for it. An error means: give up.
    pub(crate) async fn start(
        &mut self,
        copy: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        while self.running.len() >= self.jobs {
            self.join().await?;
        }
        self.running.spawn(copy);
        self.started += 1;
        if self.started > 1 {
            self.tell_only();
        }
        Ok(())
    }

    /// Tells of a problem. An error means: give up.
    pub(crate) fn problem(&mut self, failure: &Failure) -> Result<()> {
        if failure.is_silent() {
            return Err(failure.clone());
        }
        self.problems += 1;
        self.tell_only();
        if self.started <= 1 && self.problems == 1 {
            self.only = Some(failure.clone());
        } else {
            self.progress.note(failure);
        }
        self.unknown |= failure.status == Status::Unknown;
        if self.problems < PROBLEMS_MAX { Ok(()) } else { Err(self.verdict("gave up")) }
    }

    pub(crate) fn skipped_link(&mut self) {
        self.skipped_links += 1;
    }

    /// Waits for all that still run; says what came of it all.
    pub(crate) async fn end(mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.join().await?;
        }
        self.progress.end();
        if self.skipped_links > 0 {
            let links = self.skipped_links;
            self.progress.note(format_args!("{links} symbolic links were left out (--links skip)"));
        }
        match self.only.take() {
            Some(failure) => Err(failure),
            None if self.problems == 0 => Ok(()),
            None => Err(self.verdict("the rest is done")),
        }
    }

    fn tell_only(&mut self) {
        if let Some(failure) = self.only.take() {
            self.progress.note(failure);
        }
    }

    async fn join(&mut self) -> Result<()> {
        match self.running.join_next().await {
            Some(Ok(Err(failure))) => self.problem(&failure),
            Some(Err(error)) => self.problem(&Failure::new(format!("a copy failed: {error}"))),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }

    fn verdict(&self, rest: &str) -> Failure {
        let problems = self.problems;
        let failure = Failure::new(format!("{problems} could not be copied (see above); {rest}"));
        let status = if self.unknown { Status::Unknown } else { Status::Failed };
        Failure { status, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::ErrorKind;

    fn tally() -> Tally {
        Tally::new(2, Progress::begin(None))
    }

    #[tokio::test]
    async fn the_rest_is_done_and_the_status_remembers() {
        let mut tally = tally();
        for number in 0..5 {
            let outcome = if number == 1 { Err(Failure::new("no")) } else { Ok(()) };
            tally.start(async move { outcome }).await.unwrap();
        }
        assert_eq!(tally.end().await.unwrap_err().exit_status(), 1);
    }

    #[tokio::test]
    async fn the_only_problem_is_all_there_is_to_say() {
        let mut tally = tally();
        tally.start(async { Err(Failure::new("no such file")) }).await.unwrap();
        assert_eq!(tally.end().await, Err(Failure::new("no such file")));
    }

    #[tokio::test]
    async fn one_unknown_outcome_makes_the_whole_unknown() {
        let mut tally = tally();
        for kind in [ErrorKind::Unknown, ErrorKind::NotFound] {
            tally.start(async move { Err(Failure::of_kind(kind, "x")) }).await.unwrap();
        }
        assert_eq!(tally.end().await.unwrap_err().exit_status(), 3);
    }

    #[tokio::test]
    async fn it_gives_up_after_many_problems() {
        let mut tally = tally();
        let problem = Failure::new("no");
        for _ in 1..PROBLEMS_MAX {
            assert_eq!(tally.problem(&problem), Ok(()));
        }
        assert!(tally.problem(&problem).is_err());
    }
}
