//! A seed that fails, with less and less in it: what is left is what it takes.

use std::collections::BTreeSet;
use std::fmt;

use crate::agenda::{MS, Micros};
use crate::run::{Outcome, run_cut};
use crate::swarm::{Fault, Swarm};

/// What is left out of a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// Faults, by their numbers.
    pub faults: BTreeSet<u64>,
    /// Clients, by their numbers: they never start.
    pub clients: BTreeSet<usize>,
    /// Whatever comes to messages.
    pub messages: bool,
    /// The faults and the load end after this time, not the time that was drawn.
    pub chaos: Option<Micros>,
    /// Kinds of fault that are wanted in every world.
    pub also: Vec<Fault>,
}

impl Cut {
    /// As arguments of the command that runs a seed without it.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let list = |of: Vec<String>| of.join(",");
        let mut arguments = Vec::new();
        if !self.faults.is_empty() {
            let faults = list(self.faults.iter().map(u64::to_string).collect());
            arguments.extend(["--without-faults".to_owned(), faults]);
        }
        if !self.clients.is_empty() {
            let clients = list(self.clients.iter().map(usize::to_string).collect());
            arguments.extend(["--without-clients".to_owned(), clients]);
        }
        if let Some(chaos) = self.chaos {
            arguments.extend(["--chaos-ms".to_owned(), (chaos / MS).to_string()]);
        }
        if self.messages {
            arguments.push("--calm-messages".to_owned());
        }
        arguments
            .extend(self.also.iter().flat_map(|fault| ["--also".to_owned(), format!("{fault:?}")]));
        arguments
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arguments().join(" "))
    }
}

/// Leaves out of a seed whatever its violation does not need: time, faults, what comes to messages, clients. Tells of each step.
/// `None` when there is no violation.
#[must_use]
pub fn shrink(seed: u64, also: Vec<Fault>, tell: impl Fn(&str)) -> Option<(Cut, Outcome)> {
    let mut cut = Cut { also, ..Cut::default() };
    let whole = run_cut(seed, false, &cut);
    let wanted = Violated::of(whole.violations.first()?);
    let mut tries = 0;
    let swarm = Swarm::draw(seed);
    let fails = |cut: &Cut| {
        let outcome = run_cut(seed, false, cut);
        outcome.violations.iter().any(|violation| wanted.is_as(&Violated::of(violation)))
    };
    let mut fails = |cut: &Cut| {
        tries += 1;
        let fails = fails(cut);
        if fails {
            tell(&format!("after {tries} runs: {cut}"));
        }
        fails
    };
    shorten(&mut cut, swarm.chaos, &mut fails);
    let faults: Vec<_> = whole.script.iter().map(|planned| planned.number).collect();
    drop_parts(&mut cut, &faults, |cut, fault| cut.faults.extend([fault]), &mut fails);
    let calm = Cut { messages: true, ..cut.clone() };
    if fails(&calm) {
        cut = calm;
    }
    let clients: Vec<_> = (0..swarm.clients()).collect();
    drop_parts(&mut cut, &clients, |cut, client| cut.clients.extend([client]), &mut fails);
    let outcome = run_cut(seed, false, &cut);
    Some((cut, outcome))
}

/// Halves the time as long as it fails.
fn shorten(cut: &mut Cut, chaos: Micros, fails: &mut impl FnMut(&Cut) -> bool) {
    let (mut least, mut most) = (0, chaos);
    while most - least > 2_000 * MS {
        let middle = (least + most) / 2;
        let shorter = Cut { chaos: Some(middle), ..cut.clone() };
        if fails(&shorter) {
            *cut = shorter;
            most = middle;
        } else {
            least = middle;
        }
    }
}

/// Leaves out as many as it can: halves, then quarters, down to one.
fn drop_parts<T: Copy>(
    cut: &mut Cut,
    parts: &[T],
    leave_out: impl Fn(&mut Cut, T),
    fails: &mut impl FnMut(&Cut) -> bool,
) {
    let mut left = parts.to_vec();
    let mut size = left.len().div_ceil(2);
    while size > 0 && !left.is_empty() {
        let mut kept = Vec::new();
        for part in left.chunks(size) {
            let mut less = cut.clone();
            part.iter().for_each(|one| leave_out(&mut less, *one));
            if fails(&less) {
                *cut = less;
            } else {
                kept.extend_from_slice(part);
            }
        }
        left = kept;
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
}

/// What a violation is, and of what.
#[derive(Debug)]
struct Violated {
    /// Its first words without their numbers.
    what: String,
    /// The files and the work of clients that it names: other chunks, servers and places come with every change of a world, these do not.
    of: BTreeSet<String>,
}

/// So many words tell what it is.
const WORDS: usize = 4;

impl Violated {
    fn of(violation: &str) -> Self {
        let letters = |c: &char| c.is_alphabetic() || *c == ' ';
        let words: String = violation.chars().filter(letters).collect();
        let what = words.split(' ').take(WORDS).collect::<Vec<_>>().join(" ");
        Self { what, of: named(violation) }
    }

    /// Whether that is the same elsewhere: of something that this one names too, if it names anything.
    fn is_as(&self, other: &Self) -> bool {
        let same = self.of.is_empty() || !self.of.is_disjoint(&other.of);
        self.what == other.what && same
    }
}

/// `log 1`, the region `(3, 0)` as the file that it is of, and the work `(7, "sync")`.
fn named(violation: &str) -> BTreeSet<String> {
    let logs = violation.split("log ").skip(1).map(|rest| format!("log {}", digits(rest)));
    let pairs = violation.split('(').skip(1).filter_map(|rest| {
        let (client, does) = rest.split(')').next()?.split_once(", ")?;
        let client = client.parse::<usize>().ok()?;
        let is_work = does.starts_with('"');
        Some(if is_work { format!("{client}: {does}") } else { format!("regions {client}") })
    });
    let regions = violation.split("region ").skip(1).filter_map(|rest| {
        let (_, file) = rest.split_once(" of ").filter(|(region, _)| digits(region) == *region)?;
        Some(format!("regions {}", digits(file)))
    });
    logs.chain(pairs).chain(regions).collect()
}

/// The number that it begins with.
fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        let mut cut = Cut::default();
        let needed = [3, 17];
        let mut runs = 0;
        let mut fails = |cut: &Cut| {
            runs += 1;
            needed.iter().all(|fault| !cut.faults.contains(fault))
        };
        let all: Vec<_> = (1..=40).collect();
        drop_parts(&mut cut, &all, |cut, fault| cut.faults.extend([fault]), &mut fails);
        assert_eq!(all.iter().filter(|f| !cut.faults.contains(f)).collect::<Vec<_>>(), [&3, &17]);
        assert!(runs < 80, "{runs}");
        shorten(&mut cut, 60_000 * MS, &mut |cut: &Cut| cut.chaos.is_some_and(|c| c > 20_000 * MS));
        assert!(cut.chaos.is_some_and(|chaos| chaos < 23_000 * MS), "{cut}");
    }

    #[test]
    fn a_cut_can_be_asked_for() {
        let cut = Cut {
            faults: [2, 5].into(),
            clients: [1].into(),
            messages: true,
            chaos: Some(7_000 * MS),
            also: vec![Fault::FailedSync],
        };
        let text = "--without-faults 2,5 --without-clients 1 --chaos-ms 7000 --calm-messages --also FailedSync";
        assert_eq!(cut.to_string(), text);
    }

    fn is_as(one: &str, other: &str) -> bool {
        Violated::of(one).is_as(&Violated::of(other))
    }

    #[test]
    fn the_same_violation_is_known_by_its_words() {
        assert!(is_as("log 0 at 55: lost (A1)", "log 0 at 7: lost (A1)"));
        assert!(!is_as("V1: a client rests", "region 3 of 1 holds"));
        assert!(is_as("panicked: chunk 7 of 1", "panicked: chunk 8 of 2"), "names are drawn anew");
    }

    #[test]
    fn a_violation_of_another_file_or_of_another_client_is_another_one() {
        assert!(!is_as("log 0 at 55: lost (A1)", "log 1 at 55: lost (A1)"));
        let idle = |work: &[(usize, &str)]| format!("V1: not done within 30 s of calm: {work:?}");
        let onlooker = idle(&[(7, "look at regions")]);
        assert!(is_as(&onlooker, &onlooker));
        assert!(!is_as(&idle(&[(0, "sync")]), &onlooker));
        assert!(!is_as(&idle(&[(0, "sync")]), &idle(&[(0, "append")])));
        assert!(is_as(&idle(&[(0, "sync"), (1, "read")]), &idle(&[(1, "read")])), "one is enough");
        let read = |of: (usize, u64)| {
            format!("an onlooker reads Foreign in region {of:?}, {{4, 5}} may be there")
        };
        assert!(is_as(&read((1, 0)), &read((1, 6))) && !is_as(&read((1, 0)), &read((0, 0))));
        let gone =
            |region, file| format!("region {region} of {file} is not there: 3 of chunk 4 (A1)");
        assert!(is_as(&gone(2, 0), &gone(3, 0)) && !is_as(&gone(2, 0), &gone(2, 1)));
    }
}
