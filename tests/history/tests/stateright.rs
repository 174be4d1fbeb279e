//! The search beside that of another hand: on short histories both come to the same verdict.

use gfs_history::check::Told;
use gfs_history::linear::{self, Call, Moment, Verdict};
use gfs_history::namespace::Found;
use gfs_history::{Answer, Entry, Kind, Model, Namespace, Operation};
use proptest::prelude::*;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// The same namespace, as the other search wants it.
#[derive(Debug, Clone, Default)]
struct Spec(Namespace);

impl SequentialSpec for Spec {
    type Op = (u32, Operation);
    type Ret = Told;

    /// Asked only about calls that never return: what they do counts, not what they say.
    fn invoke(&mut self, (call, operation): &Self::Op) -> Told {
        if let Some(after) = self.0.after(*call, operation, None) {
            self.0 = after;
        }
        Told::Done(Answer::Nothing)
    }

    fn is_valid_step(&mut self, (call, operation): &Self::Op, told: &Told) -> bool {
        let after = self.0.after(*call, operation, Some(told));
        after.is_some_and(|after| {
            self.0 = after;
            true
        })
    }
}

/// A call that takes effect at some instant, and what its caller learns of it.
#[derive(Debug, Clone)]
struct Planned {
    operation: Operation,
    /// How long before its instant it is called, and how long after it returns; instants are 10 apart.
    before: u32,
    after: u32,
    fate: Fate,
}

#[derive(Debug, Clone)]
enum Fate {
    Told,
    /// It is told something else than what is true.
    Lied(Told),
    /// Nobody knows; whether it took effect.
    Unknown(bool),
}

fn paths() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("/a"), 2 => Just("/b"), 1 => Just("/a/c")].prop_map(str::to_owned)
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => paths().prop_map(|path| Operation::Create { path }),
        3 => (paths(), any::<bool>()).prop_map(|(path, parents)| Operation::Mkdir { path, parents }),
        3 => (paths(), any::<bool>(), any::<bool>())
            .prop_map(|(path, recursive, purge)| Operation::Delete { path, recursive, purge }),
        2 => (paths(), paths(), any::<bool>())
            .prop_map(|(from, to, replace)| Operation::Rename { from, to, replace }),
        1 => paths().prop_map(|path| Operation::Undelete { path }),
        4 => paths().prop_map(|path| Operation::Stat { path }),
        1 => Just(Operation::List { path: "/".to_owned() }),
    ]
}

fn lies() -> impl Strategy<Value = Told> {
    let refusals = ["invalid", "not_found", "already_exists"];
    let refused = prop::sample::select(refusals.to_vec())
        .prop_map(|word| Told::Refused(serde_json::from_value(word.into()).expect("a word")));
    let entry = (0_u64..3)
        .prop_map(|id| Told::Done(Answer::Entry(Entry { kind: Kind::File, id: 100 + id })));
    prop_oneof![refused, entry, Just(Told::Done(Answer::Nothing))]
}

fn plans() -> impl Strategy<Value = Vec<Planned>> {
    let fate = prop_oneof![
        8 => Just(Fate::Told),
        1 => lies().prop_map(Fate::Lied),
        2 => any::<bool>().prop_map(Fate::Unknown),
    ];
    let planned = (operations(), 0_u32..30, 0_u32..30, fate)
        .prop_map(|(operation, before, after, fate)| Planned { operation, before, after, fate });
    prop::collection::vec(planned, 1..8)
}

/// Does the operation and says what is true of it; who was never told of gets the next id.
fn perform(namespace: &mut Namespace, call: u32, operation: &Operation) -> Told {
    let found = match namespace.perform(call, operation) {
        Ok(found) => found,
        Err(refusal) => return Told::Refused(refusal),
    };
    let entry = |path: &str| {
        let known = namespace.entries().find(|(other, ..)| *other == path);
        let (kind, id) = known.map_or((Kind::Directory, Some(0)), |(_, kind, id)| (kind, id));
        Entry { kind, id: id.unwrap_or(u64::from(call) + 100) }
    };
    let answer = match &found {
        Found::Nothing => Answer::Nothing,
        Found::At(path) => Answer::Entry(entry(path)),
        Found::In(_, names) => {
            let named = |(place, name): (u64, &String)| {
                let mut entry = entry(&format!("/{name}"));
                // Several may be new to everybody.
                entry.id += if entry.id == u64::from(call) + 100 { 1000 * (place + 1) } else { 0 };
                (name.clone(), entry)
            };
            Answer::Names((0..).zip(names).map(named).collect())
        }
    };
    assert!(namespace.agrees(&found, &answer), "{operation:?} {answer:?}");
    Told::Done(answer)
}

/// What happened, in order.
fn play(plans: &[Planned]) -> (Vec<Call<Operation, Told>>, Vec<Moment>) {
    let mut namespace = Namespace::default();
    let (mut calls, mut timed) = (Vec::new(), Vec::new());
    for (call, planned) in (0..).zip(plans) {
        let instant = 100 + 10 * call;
        let outcome = match &planned.fate {
            Fate::Unknown(false) => None,
            Fate::Unknown(true) => {
                drop(namespace.perform(call, &planned.operation));
                None
            }
            Fate::Told => Some(perform(&mut namespace, call, &planned.operation)),
            Fate::Lied(lie) => {
                perform(&mut namespace, call, &planned.operation);
                Some(lie.clone())
            }
        };
        timed.push((instant - planned.before, Moment::Called(call)));
        if outcome.is_some() {
            timed.push((instant + planned.after, Moment::Returned(call)));
        }
        calls.push(Call { operation: planned.operation.clone(), outcome });
    }
    timed.sort_by_key(|(at, moment)| (*at, matches!(moment, Moment::Returned(_))));
    (calls, timed.into_iter().map(|(_, moment)| moment).collect())
}

fn other_verdict(calls: &[Call<Operation, Told>], moments: &[Moment]) -> bool {
    let mut tester = LinearizabilityTester::new(Spec::default());
    for moment in moments {
        match *moment {
            Moment::Called(call) => {
                let operation = calls[call as usize].operation.clone();
                tester.on_invoke(call, (call, operation)).expect("called once");
            }
            Moment::Returned(call) => {
                let told = calls[call as usize].outcome.clone().expect("it returned");
                tester.on_return(call, told).expect("it was called");
            }
        }
    }
    tester.is_consistent()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn two_searches_come_to_one_verdict(plans in plans()) {
        let (calls, moments) = play(&plans);
        let verdict = linear::search(Namespace::default(), &calls, &moments);
        let fine = other_verdict(&calls, &moments);
        prop_assert_eq!(verdict == Verdict::Linearizable, fine, "{:?}\n{:?}\n{:?}", calls, moments, verdict);
        if plans.iter().all(|planned| !matches!(planned.fate, Fate::Lied(_))) {
            prop_assert!(fine, "nobody lied");
        }
    }
}
