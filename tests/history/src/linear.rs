//! The search for an order: whether calls that overlap can be put one after another.
//!
//! It goes through the events depth first. A call takes effect as late as it can: right before some return that needs it (its
//! own, or one that it explains). That loses nothing, as a call which took effect earlier can be moved back to the next such
//! return without anybody seeing a difference, and it keeps the choices few. What was seen to lead nowhere is remembered, by
//! event, calls that took effect without having returned, and state. The idea of remembering is Lowe's ("Testing for
//! linearizability", 2017), after Wing and Gong.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// A thing that does one call after another.
pub trait Model: Clone + Eq + Hash {
    /// What is called.
    type Operation: Debug;
    /// What the caller is told.
    type Outcome: Debug;

    /// The state after a call with this outcome, `None` when it cannot have it here. A call whose outcome nobody knows is
    /// asked about only as one that took effect: `None` then says that it has none.
    #[must_use]
    fn after(
        &self,
        call: u32,
        operation: &Self::Operation,
        outcome: Option<&Self::Outcome>,
    ) -> Option<Self>;

    /// Whether a call that ended so changed nothing, in whatever state it took effect. One that changed nothing only because
    /// all was as it wanted is none of these: later it might have changed something.
    #[must_use]
    fn changes_nothing(operation: &Self::Operation, outcome: &Self::Outcome) -> bool;
}

/// A call, and how it ended if anybody knows.
#[derive(Debug, Clone)]
pub struct Call<O, R> {
    /// What was called.
    pub operation: O,
    /// What the caller was told; `None`: nobody knows whether it took effect.
    pub outcome: Option<R>,
}

/// Something that happened, in the order of real time; the number is the place of the call among the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Somebody called.
    Called(u32),
    /// A call whose outcome is known returned.
    Returned(u32),
}

/// What the search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violation(Violation),
    /// The search was given up at its limit.
    Undecided {
        /// Configurations that were looked at.
        configurations: usize,
    },
}

/// Where no order goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The call whose return nothing explains, in the order that came furthest.
    pub call: u32,
    /// Calls that were under way then and had not taken effect.
    pub open: Vec<u32>,
    /// The state before it, for a person.
    pub state: String,
}

/// Configurations that a search looks at before it is given up.
pub const CONFIGURATIONS_MAX: usize = 2_000_000;

/// Whether there is an order of the calls that respects real time and the model.
///
/// # Panics
/// When a moment names a call that is not there.
pub fn search<M: Model + Debug>(
    model: M,
    calls: &[Call<M::Operation, M::Outcome>],
    moments: &[Moment],
) -> Verdict {
    let mut search = Search { calls, moments, open: open_at(calls, moments), seen: HashSet::new() };
    search.run(Configuration { at: 0, taken: Vec::new(), state: Arc::new(model) })
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Configuration<M> {
    /// The next moment.
    at: usize,
    /// Calls that took effect and have not returned, ascending.
    taken: Vec<u32>,
    state: Arc<M>,
}

struct Search<'a, M: Model> {
    calls: &'a [Call<M::Operation, M::Outcome>],
    moments: &'a [Moment],
    /// For each moment the calls that are under way before it, ascending.
    open: Vec<Arc<Vec<u32>>>,
    seen: HashSet<Configuration<M>>,
}

impl<M: Model + Debug> Search<'_, M> {
    fn run(&mut self, start: Configuration<M>) -> Verdict {
        let mut furthest: Option<(Configuration<M>, u32)> = None;
        let mut ways = vec![start];
        while let Some(mut way) = ways.pop() {
            let Some(due) = self.advance(&mut way) else { return Verdict::Linearizable };
            self.absorb(&mut way);
            if way.taken.binary_search(&due).is_ok() {
                ways.push(way);
                continue;
            }
            if !self.seen.insert(way.clone()) {
                continue;
            }
            if self.seen.len() > CONFIGURATIONS_MAX {
                return Verdict::Undecided { configurations: self.seen.len() };
            }
            if furthest.as_ref().is_none_or(|(furthest, _)| furthest.at < way.at) {
                furthest = Some((way.clone(), due));
            }
            // The last one is tried first: the call that is due.
            let others = self.not_taken(&way).filter(|call| *call != due);
            let choices: Vec<u32> = others.chain([due]).collect();
            ways.extend(choices.into_iter().filter_map(|call| self.take(&way, call)));
        }
        furthest.map_or(Verdict::Linearizable, |(way, due)| {
            Verdict::Violation(self.violation(&way, due))
        })
    }

    /// Goes on to the next return of a call that has not taken effect, and names it; `None` at the end.
    fn advance(&self, way: &mut Configuration<M>) -> Option<u32> {
        while let Some(moment) = self.moments.get(way.at) {
            if let Moment::Returned(call) = moment {
                match way.taken.binary_search(call) {
                    Ok(place) => drop(way.taken.remove(place)),
                    Err(_) => return Some(*call),
                }
            }
            way.at += 1;
        }
        None
    }

    /// Lets all calls take effect that agree with the state and change nothing in any: sooner or later makes no difference to others.
    fn absorb(&self, way: &mut Configuration<M>) {
        let agreeing: Vec<u32> = self
            .not_taken(way)
            .filter(|call| self.changes_nothing(*call))
            .filter(|call| self.after(&way.state, *call).is_some_and(|after| after == *way.state))
            .collect();
        way.taken.extend(agreeing);
        way.taken.sort_unstable();
    }

    fn take(&self, way: &Configuration<M>, call: u32) -> Option<Configuration<M>> {
        let state = Arc::new(self.after(&way.state, call)?);
        let mut taken = way.taken.clone();
        taken.insert(taken.partition_point(|other| *other < call), call);
        Some(Configuration { at: way.at, taken, state })
    }

    fn after(&self, state: &M, call: u32) -> Option<M> {
        let Call { operation, outcome } = &self.calls[call as usize];
        state.after(call, operation, outcome.as_ref())
    }

    fn changes_nothing(&self, call: u32) -> bool {
        let Call { operation, outcome } = &self.calls[call as usize];
        outcome.as_ref().is_some_and(|outcome| M::changes_nothing(operation, outcome))
    }

    fn not_taken<'a>(&'a self, way: &'a Configuration<M>) -> impl Iterator<Item = u32> + 'a {
        self.open[way.at].iter().copied().filter(|call| way.taken.binary_search(call).is_err())
    }

    fn violation(&self, way: &Configuration<M>, due: u32) -> Violation {
        Violation {
            call: due,
            open: self.not_taken(way).filter(|call| *call != due).collect(),
            state: format!("{:?}", way.state),
        }
    }
}

/// Calls without an outcome are under way for ever.
fn open_at<O, R>(calls: &[Call<O, R>], moments: &[Moment]) -> Vec<Arc<Vec<u32>>> {
    let mut open = Arc::new(Vec::new());
    let mut at = Vec::with_capacity(moments.len());
    for moment in moments {
        at.push(open.clone());
        let mut next = Vec::clone(&open);
        match moment {
            Moment::Called(call) => {
                assert!((*call as usize) < calls.len(), "there is no call {call}");
                next.push(*call);
                next.sort_unstable();
            }
            Moment::Returned(call) => next.retain(|other| other != call),
        }
        open = Arc::new(next);
    }
    at
}
