//! What the steps counted, and how it is told at the end.

use std::fmt;

/// What one step counted: tests where it runs tests, else itself as one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// What a reader must know: the failed tests, the reason of a skip.
    pub(crate) notes: Vec<String>,
    /// Tests that said that they could not run here, and that `cargo test` will count as passed.
    said_skipped: u64,
}

impl Tally {
    pub(crate) fn passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self { failed: 1, notes: vec![why.into()], ..Self::default() }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: 1, notes: vec![why.into()], ..Self::default() }
    }

    /// Passed or failed, as an exit status says.
    pub(crate) fn of(success: bool, why: &str) -> Self {
        if success { Self::passed() } else { Self::failed(why) }
    }

    /// One word for the whole step.
    pub(crate) fn word(&self) -> &'static str {
        match (self.failed, self.skipped, self.passed) {
            (0, 0, _) => "ok",
            (0, _, 0) => "skipped",
            (0, ..) => "ok, with skips",
            _ => "FAILED",
        }
    }

    /// Counts one line of what `cargo test` prints; other lines change nothing.
    pub(crate) fn count_line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let skipped = std::mem::take(&mut self.said_skipped);
            self.passed += number_before(counts, " passed").saturating_sub(skipped);
            self.failed += number_before(counts, " failed");
            self.skipped += number_before(counts, " ignored") + skipped;
        } else if line.starts_with("skipped: ") {
            self.said_skipped += 1;
            self.notes.push(line.to_owned());
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some((test, outcome)) = test.rsplit_once(" ... ")
            && (outcome == "FAILED" || outcome.starts_with("ignored"))
        {
            self.notes.push(format!("{test}: {outcome}"));
        }
    }

    /// Closes the count of one `cargo test`: a bad end without a failed test (it did not compile, a test
    /// process died) is one failure.
    pub(crate) fn ended(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
            self.notes.push("no test failed, but cargo test did: see above".to_owned());
        }
        self
    }

    /// A step that found no test to run has failed.
    pub(crate) fn not_empty(self) -> Self {
        if self.passed + self.failed > 0 { self } else { Self::failed("not one test was run") }
    }

    /// Takes in what another run counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.notes.extend(other.notes);
    }
}

/// The number that stands right before `word`; 0 where there is none.
fn number_before(text: &str, word: &str) -> u64 {
    let Some((before, _)) = text.split_once(word) else { return 0 };
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// All steps that ran.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<(&'static str, Tally, f64)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &'static str, tally: Tally, seconds: f64) {
        self.steps.push((name, tally, seconds));
    }

    /// Whether the exit status is 0. Where `strict` (in CI) a skip is a failure too.
    pub(crate) fn good(&self, strict: bool) -> bool {
        let (_, failed, skipped) = self.sums();
        failed == 0 && !(strict && skipped > 0)
    }

    fn sums(&self) -> (u64, u64, u64) {
        self.steps.iter().fold((0, 0, 0), |(passed, failed, skipped), (_, tally, _)| {
            (passed + tally.passed, failed + tally.failed, skipped + tally.skipped)
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {:>7} {:>7} {:>8} {:>9}",
            "step", "passed", "failed", "skipped", "seconds"
        )?;
        for (name, tally, seconds) in &self.steps {
            let Tally { passed, failed, skipped, .. } = tally;
            writeln!(f, "{name:<10} {passed:>7} {failed:>7} {skipped:>8} {seconds:>9.1}")?;
        }
        for (name, tally, _) in &self.steps {
            for note in &tally.notes {
                writeln!(f, "{name}: {note}")?;
            }
        }
        let (passed, failed, skipped) = self.sums();
        writeln!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.count_line(line));
        tally
    }

    #[test]
    fn the_results_of_several_binaries_add_up() {
        let tally = counted(&[
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test a::b ... ok",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 2.50s",
        ]);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (15, 2, 1));
        assert_eq!(tally.word(), "FAILED");
    }

    #[test]
    fn failed_and_ignored_tests_are_named() {
        let tally = counted(&["test a::b ... FAILED", "test c ... ignored, slow", "test d ... ok"]);
        assert_eq!(tally.notes, ["a::b: FAILED", "c: ignored, slow"]);
    }

    #[test]
    fn a_test_that_says_that_it_cannot_run_here_is_skipped_not_passed() {
        let tally = counted(&[
            "skipped: partitions: nft is missing",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!((tally.passed, tally.skipped), (4, 1));
        assert_eq!(tally.notes, ["skipped: partitions: nft is missing"]);
    }

    #[test]
    fn a_run_with_a_bad_end_or_without_a_test_is_a_failure() {
        let counts = |tally: Tally| (tally.passed, tally.failed);
        let run = |passed, failed| Tally { passed, failed, ..Tally::default() };
        assert_eq!(counts(run(3, 0).ended(true).not_empty()), (3, 0));
        assert_eq!(counts(run(3, 0).ended(false)), (3, 1));
        assert_eq!(counts(run(3, 2).ended(false)), (3, 2));
        assert_eq!(counts(run(0, 0).ended(true)), (0, 0));
        assert_eq!(counts(run(0, 0).not_empty()), (0, 1));
    }

    #[test]
    fn runs_add_up() {
        let mut sum = Tally::failed("a");
        sum.add(Tally { passed: 2, skipped: 1, ..Tally::failed("b") });
        assert_eq!((sum.passed, sum.failed, sum.skipped), (2, 2, 1));
        assert_eq!(sum.notes, ["a", "b"]);
    }

    #[test]
    fn what_only_looks_like_a_result_counts_nothing() {
        let tally = counted(&["4 passed", "test result", "a test result: ok. 5 passed;", ""]);
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn the_last_line_is_the_sum_and_a_skip_fails_only_where_strict() {
        let mut report = Report::default();
        report.add("fmt", Tally::passed(), 0.5);
        report.add("deny", Tally::skipped("no network"), 1.0);
        assert_eq!(report.to_string().lines().last(), Some("1 passed, 0 failed, 1 skipped"));
        assert!(report.to_string().contains("deny: no network"));
        assert!(report.good(false) && !report.good(true));
        report.add("unit", Tally::failed("one"), 1.0);
        assert!(!report.good(false));
    }

    #[test]
    fn one_word_tells_a_step() {
        assert_eq!(Tally::passed().word(), "ok");
        assert_eq!(Tally::skipped("x").word(), "skipped");
        assert_eq!(Tally { passed: 2, skipped: 1, ..Tally::default() }.word(), "ok, with skips");
        assert_eq!(Tally::of(false, "x").word(), "FAILED");
    }
}
