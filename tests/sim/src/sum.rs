//! What many worlds came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use gfs_types::marks::Mark;
use serde::Serialize;

use crate::agenda::{Micros, SECOND};
use crate::run::Outcome;
use crate::swarm::Fault;

/// Among so many worlds each kind of fault must have been felt in one of sixteen.
const MANY: usize = 200;
const SELDOM: usize = 16;
/// Among so many worlds each rare path must have been come by: the rarest is in one of four hundred.
const ALL_MARKS: usize = 2_000;
/// A world in which less happens proves little: at the median of many, and in each.
const ACKNOWLEDGED: u64 = 300;
/// One world of so many, at most, may be left with rot that is not asked about.
const RARELY: usize = 100;
/// So many marks are told with the number of worlds that hit them.
const RAREST: usize = 4;
const SIMULATED: Micros = 60 * SECOND;

/// The sum of outcomes.
#[derive(Debug, Default)]
pub struct Sum {
    simulated: Micros,
    shortest: Option<Micros>,
    acknowledged: Vec<u64>,
    stale: usize,
    rot_given_back: usize,
    rot_remains: usize,
    /// How often each was felt, and in how many worlds.
    faults: BTreeMap<Fault, (u64, usize)>,
    /// In how many worlds each rare path was come by.
    marks: BTreeMap<Mark, usize>,
    violations: Vec<Violation>,
}

/// What may not be, and in which world it is.
#[derive(Debug, Serialize)]
struct Violation {
    seed: u64,
    what: String,
}

impl Sum {
    /// One more.
    pub fn add(&mut self, outcome: &Outcome) {
        self.simulated += outcome.simulated;
        // One that ended early says so otherwise.
        if outcome.violations.is_empty() {
            let shortest = self.shortest.unwrap_or(outcome.simulated);
            self.shortest = Some(shortest.min(outcome.simulated));
        }
        self.acknowledged.push(outcome.acknowledged);
        self.stale += usize::from(outcome.stale > 0);
        self.rot_given_back += usize::from(outcome.rot_given_back);
        self.rot_remains += usize::from(outcome.rot_remains);
        for (fault, count) in outcome.faults.iter().filter(|(_, count)| **count > 0) {
            let (times, worlds) = self.faults.entry(*fault).or_default();
            (*times, *worlds) = (*times + count, *worlds + 1);
        }
        for mark in &outcome.marks {
            *self.marks.entry(*mark).or_default() += 1;
        }
        let all = outcome.violations.iter().cloned();
        self.violations.extend(all.map(|what| Violation { seed: outcome.seed, what }));
    }

    /// How many there were.
    #[must_use]
    pub fn worlds(&self) -> usize {
        self.acknowledged.len()
    }

    /// In how many something may not be.
    #[must_use]
    pub fn bad(&self) -> usize {
        let mut seeds: Vec<_> = self.violations.iter().map(|violation| violation.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.len()
    }

    /// Acknowledged operations of a world, at the median.
    #[must_use]
    pub fn median(&self) -> u64 {
        let mut acknowledged = self.acknowledged.clone();
        acknowledged.sort_unstable();
        acknowledged.get(acknowledged.len() / 2).copied().unwrap_or(0)
    }

    /// So many times as fast as time goes.
    #[must_use]
    pub fn times_as_fast(&self, took: Duration) -> u128 {
        u128::from(self.simulated) / took.as_micros().max(1)
    }

    /// Why these worlds prove less than they should: of each of many worlds enough must happen.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if let Some(shortest) = self.shortest.filter(|shortest| *shortest < SIMULATED) {
            lacks.push(format!("a world of {} s", shortest / SECOND));
        }
        if self.worlds() < MANY {
            return lacks;
        }
        if self.median() < ACKNOWLEDGED {
            lacks.push(format!("{} acknowledged operations at the median", self.median()));
        }
        for fault in Fault::all() {
            let worlds = self.faults.get(&fault).map_or(0, |(_, worlds)| *worlds);
            if worlds * SELDOM < self.worlds() {
                lacks.push(format!("{fault:?} was felt in {worlds} of {} worlds", self.worlds()));
            }
        }
        if self.rot_remains * RARELY > self.worlds() {
            lacks.push(format!("{} worlds were not asked to come to rest", self.rot_remains));
        }
        if self.worlds() >= ALL_MARKS {
            lacks.extend(self.never().map(|mark| format!("nobody came by {mark:?}")));
        }
        lacks
    }

    /// The marks that no world came by.
    fn never(&self) -> impl Iterator<Item = Mark> {
        Mark::ALL.iter().copied().filter(|mark| !self.marks.contains_key(mark))
    }

    /// How many marks were hit, which never were, and the rarest of the others: those are the next to be missed.
    fn told_marks(&self) -> String {
        let never: Vec<_> = self.never().collect();
        let (hit, all) = (self.marks.len(), Mark::ALL.len());
        let mut rarest: Vec<_> = self.marks.iter().map(|(mark, worlds)| (worlds, mark)).collect();
        rarest.sort_unstable();
        let told = rarest.iter().take(RAREST).map(|(worlds, mark)| format!("{mark:?} {worlds}"));
        let rarest = told.collect::<Vec<_>>().join(", ");
        format!("{hit} of {all} marks hit; never: {never:?}; in the fewest seeds: {rarest}")
    }

    /// No violation, and nothing lacks.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.lacks().is_empty()
    }

    /// For programs.
    ///
    /// # Errors
    /// None that can happen: whatever there is can be written.
    pub fn to_json(&self, took: Duration) -> serde_json::Result<String> {
        let never: Vec<_> = self.never().map(|mark| format!("{mark:?}")).collect();
        let seeds = self.marks.iter().map(|(mark, worlds)| (format!("{mark:?}"), *worlds));
        serde_json::to_string(&serde_json::json!({
            "seeds": self.worlds(),
            "seeds_with_violations": self.bad(),
            "violations": self.violations,
            "lacks": self.lacks(),
            "simulated_s": self.simulated / SECOND,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "times_as_fast": u64::try_from(self.times_as_fast(took)).unwrap_or(u64::MAX),
            "acknowledged": self.acknowledged.iter().sum::<u64>(),
            "acknowledged_at_the_median": self.median(),
            "seeds_with_stale_reads": self.stale,
            "seeds_with_rot_given_back": self.rot_given_back,
            "seeds_not_asked_to_rest": self.rot_remains,
            "faults": self.faults.iter().map(|(fault, (times, _))| (format!("{fault:?}"), *times)).collect::<BTreeMap<_, _>>(),
            "marks": Mark::ALL.len(),
            "marks_never_hit": never,
            "seeds_of_marks": seeds.collect::<BTreeMap<_, _>>(),
        }))
    }

    /// For people: the last line is the sum.
    #[must_use]
    pub fn told(&self, took: Duration) -> impl fmt::Display {
        let times = |(fault, (times, _)): (&Fault, &(u64, usize))| format!("{fault:?} {times}");
        let faults: Vec<_> = self.faults.iter().map(times).collect();
        let mut lines =
            vec![self.told_marks(), format!("faults that were felt: {}", faults.join(", "))];
        lines.extend(self.lacks().iter().map(|lack| format!("they prove too little: {lack}")));
        let hours = self.simulated / (36 * SECOND);
        lines.push(format!(
            "{} seeds, {} with violations; {}.{:02} h simulated in {} s: {} times as fast; {} operations acknowledged, {} at the median; \
             {} seeds with stale reads, {} with rot given back, {} not asked to come to rest",
            self.worlds(),
            self.bad(),
            hours / 100,
            hours % 100,
            took.as_secs(),
            self.times_as_fast(took),
            self.acknowledged.iter().sum::<u64>(),
            self.median(),
            self.stale,
            self.rot_given_back,
            self.rot_remains
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seed: u64, acknowledged: u64) -> Outcome {
        let faults = [(Fault::Kill, 2), (Fault::Rot, 0)].into();
        let (simulated, marks) = (90 * SECOND, vec![Mark::Purged]);
        Outcome { seed, acknowledged, simulated, faults, marks, ..Outcome::default() }
    }

    #[test]
    fn worlds_add_up() -> serde_json::Result<()> {
        let mut sum = Sum::default();
        [40, 900, 500]
            .into_iter()
            .zip(1..)
            .for_each(|(count, seed)| sum.add(&outcome(seed, count)));
        assert!(sum.is_good() && sum.median() == 500, "{sum:?}");
        let bad = |seed| Outcome {
            violations: vec!["A1".to_owned(), "D4".to_owned()],
            ..outcome(seed, 1)
        };
        sum.add(&bad(4));
        assert!(!sum.is_good() && sum.bad() == 1);
        let took = Duration::from_millis(720);
        assert_eq!(sum.times_as_fast(took), 500);
        let told = sum.told(took).to_string();
        assert!(told.contains("Kill 8") && !told.contains("Rot"), "{told}");
        let last = told.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("4 seeds, 1 with violations; 0.10 h simulated in 0 s: 500 times"),
            "{last}"
        );
        let json: serde_json::Value = serde_json::from_str(&sum.to_json(took)?)?;
        assert_eq!((&json["seeds"], &json["acknowledged"]), (&4.into(), &1441.into()));
        assert_eq!(
            (&json["violations"][1]["what"], &json["faults"]["Kill"]),
            (&"D4".into(), &8.into())
        );
        Ok(())
    }

    #[test]
    fn what_happens_too_seldom_proves_nothing() {
        let mut sum = Sum::default();
        (1..200).for_each(|seed| sum.add(&outcome(seed, 299)));
        assert_eq!(sum.lacks(), [""; 0]);
        sum.add(&outcome(200, 299));
        let lacks = sum.lacks();
        assert!(
            lacks.contains(&"299 acknowledged operations at the median".to_owned()),
            "{lacks:?}"
        );
        assert!(lacks.contains(&"Rot was felt in 0 of 200 worlds".to_owned()), "{lacks:?}");
        assert!(!lacks.iter().any(|lack| lack.contains("Kill")), "{lacks:?}");
        sum.add(&Outcome { simulated: 59 * SECOND, ..outcome(201, 300) });
        assert_eq!(sum.lacks()[0], "a world of 59 s");
    }

    #[test]
    fn a_rare_path_that_nobody_comes_by_is_told() {
        let mut sum = Sum::default();
        let lacks = |sum: &Sum| -> Vec<String> {
            sum.lacks().into_iter().filter(|lack| lack.contains("came by")).collect()
        };
        (1..2_000).for_each(|seed| sum.add(&outcome(seed, 300)));
        assert_eq!(lacks(&sum), [""; 0].map(String::from));
        sum.add(&Outcome { marks: vec![Mark::BornAgain], ..outcome(2_000, 300) });
        let never = lacks(&sum);
        assert_eq!(never.len(), Mark::ALL.len() - 2);
        assert!(never.contains(&"nobody came by TornTailCut".to_owned()), "{never:?}");
        let told = sum.told_marks();
        assert!(told.ends_with("in the fewest seeds: BornAgain 1, Purged 1999"), "{told}");
    }
}
