//! Which pod is restarted next, so that all run what their StatefulSet says and no chunk loses two replicas at once.
//!
//! StatefulSets have the strategy `OnDelete`: their controllers restart nothing, since none of them sees the others.

mod observe;
mod restart;

pub(crate) use observe::is_running;
pub use observe::observe;
pub use restart::restart;

/// What a pod is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The master: all metadata.
    Master,
    /// A chunkserver.
    Chunkserver,
}

/// One pod, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Which pod of that name.
    pub uid: String,
    /// Which state of it.
    pub resource_version: String,
    /// What it is for.
    pub role: Role,
    /// Whether its StatefulSet would make it another way today.
    pub outdated: bool,
    /// Whether it is being deleted.
    pub ending: bool,
    /// Whether its container runs.
    pub running: bool,
    /// Whether it says that it can serve.
    pub ready: bool,
    /// Whether it has said for minutes that it cannot; a chunkserver, while a master could all that time.
    pub unready_long: bool,
    /// A chunkserver: whether the master hears from it. `None` when the master could not be asked.
    pub in_touch: Option<bool>,
    /// Whether its volume goes when it ends: its claim was deleted, or is not there.
    pub volume_goes: bool,
}

/// The chunks of a cluster, as its master counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunks {
    /// All that a file refers to.
    pub all: u64,
    /// Of these, how many have fewer current replicas than they should.
    pub below_goal: u64,
    /// Of these, how many have none.
    pub missing: u64,
}

/// Why a rollout does not go on without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held<'a> {
    /// To end this pod is to lose what it holds.
    VolumeGoes(&'a PodView),
    /// This chunkserver should be restarted and may hold the last replica of a chunk: others lack and do not come.
    ReplicasMissing(&'a PodView, Chunks),
}

/// All pods of a cluster, and how many there should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Whether each StatefulSet controller has seen the newest state of its set: only then is `outdated` known.
    pub settled: bool,
    /// In the order of their names.
    pub pods: Vec<PodView>,
    /// What the master says of chunks, when it could be asked and has counted them since a chunkserver came or went.
    pub chunks: Option<Chunks>,
    /// Whether the last chunkserver came back minutes ago: what its restart took from chunks should be made equal by now.
    pub back_long: bool,
    /// Chunkserver pods that the StatefulSets ask for.
    pub chunkservers_wanted: usize,
}

impl PodView {
    /// It serves, and nothing is about to change that.
    fn is_well(&self) -> bool {
        let heard = self.role == Role::Master || self.in_touch == Some(true);
        self.running && self.ready && !self.ending && !self.volume_goes && heard
    }

    /// It serves nobody: to restart it takes nothing away. A chunkserver that became unready a moment ago is no such pod, nor
    /// is one whose master did: perhaps all that it lacks is the master, and it is about to find it.
    fn is_broken(&self) -> bool {
        let silent = self.role == Role::Master || self.in_touch == Some(false);
        !self.running || (!self.ready && self.unready_long && silent)
    }

    fn can_go(&self) -> bool {
        self.outdated && !self.ending && !self.volume_goes
    }
}

impl Observed {
    fn chunkservers(&self) -> impl Iterator<Item = &PodView> {
        self.pods.iter().filter(|pod| pod.role == Role::Chunkserver)
    }

    /// Whether every chunkserver there should be is well, `but` one.
    fn others_are_well(&self, but: &PodView) -> bool {
        let others: Vec<_> = self.chunkservers().filter(|pod| pod.uid != but.uid).collect();
        others.iter().all(|pod| pod.is_well()) && others.len() + 1 >= self.chunkservers_wanted
    }

    /// Whether each chunk has all of its replicas. With every restart in a row replicas fall behind what is written meanwhile;
    /// three in a row would leave a chunk without a current one. And where replicas lack, any chunkserver may have the last one.
    fn is_whole(&self) -> bool {
        self.chunks.is_some_and(|chunks| chunks.below_goal == 0)
    }

    /// Whether a pod is outdated.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        !self.settled || self.pods.iter().any(|pod| pod.outdated)
    }
}

/// The pod to restart now, if one may be.
#[must_use]
pub fn next(observed: &Observed) -> Option<&PodView> {
    if !observed.settled {
        return None;
    }
    // A pod that a bad manifest broke would otherwise wait for ever for its own health.
    let ending = observed.pods.iter().any(|pod| pod.ending);
    let mut candidates = observed.pods.iter().filter(|pod| pod.can_go() && pod.is_broken());
    let broken = candidates.find(|pod| !pod.running || !ending);
    broken.or_else(|| next_chunkserver(observed)).or_else(|| next_master(observed))
}

fn next_chunkserver(observed: &Observed) -> Option<&PodView> {
    let master_serves = observed.pods.iter().any(|pod| pod.role == Role::Master && pod.is_well());
    let mut candidates = observed.chunkservers().filter(|pod| pod.can_go());
    candidates.find(|pod| master_serves && observed.is_whole() && observed.others_are_well(pod))
}

/// Why nothing goes on, if only a person can change that.
#[must_use]
pub fn held(observed: &Observed) -> Option<Held<'_>> {
    // Told before any restart is due: whatever ends such a pod ends its data.
    let mut pods = observed.pods.iter().filter(|pod| !pod.ending);
    if let Some(pod) = pods.find(|pod| pod.volume_goes) {
        return Some(Held::VolumeGoes(pod));
    }
    let chunks = observed.chunks.filter(|chunks| chunks.below_goal > 0 && observed.back_long)?;
    if !observed.settled || next(observed).is_some() {
        return None;
    }
    let waits = observed.chunkservers().find(|pod| pod.can_go() && observed.others_are_well(pod));
    waits.map(|pod| Held::ReplicasMissing(pod, chunks))
}

/// The master is last: while it is away, nobody may say which chunkservers are well.
fn next_master(observed: &Observed) -> Option<&PodView> {
    let done = observed.chunkservers().all(|pod| pod.is_well() && !pod.outdated)
        && observed.chunkservers().count() >= observed.chunkservers_wanted;
    observed.pods.iter().find(|pod| done && pod.role == Role::Master && pod.can_go())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod by letters: `o`utdated, `e`nding, `d`own (its container does not run), `n`ot ready (for `l`ong), `s`ilent to the
    /// master, `u`nknown to whom the master could not be asked about, its `v`olume about to go. Without any it is new and well.
    fn pod(text: &str) -> PodView {
        let (name, letters) = text.split_once(' ').unwrap_or((text, ""));
        let has = |letter| letters.contains(letter);
        let role = if name == "m" { Role::Master } else { Role::Chunkserver };
        PodView {
            name: name.to_owned(),
            uid: format!("uid of {name}"),
            resource_version: "1".to_owned(),
            role,
            outdated: has('o'),
            ending: has('e'),
            running: !has('d'),
            ready: !has('d') && !has('n'),
            unready_long: has('l'),
            in_touch: match role {
                Role::Master => None,
                Role::Chunkserver if has('u') => None,
                Role::Chunkserver => Some(!has('d') && !has('s')),
            },
            volume_goes: has('v'),
        }
    }

    fn observed(texts: &[&str]) -> Observed {
        Observed {
            settled: true,
            pods: texts.iter().map(|text| pod(text)).collect(),
            chunks: Some(Chunks { all: 9, ..Chunks::default() }),
            back_long: false,
            chunkservers_wanted: 3,
        }
    }

    fn lacking(texts: &[&str]) -> Observed {
        let chunks = Some(Chunks { all: 9, below_goal: 1, missing: 0 });
        Observed { chunks, back_long: true, ..observed(texts) }
    }

    #[test]
    fn one_at_a_time_and_the_master_last() {
        let table: &[(&[&str], Option<&str>)] = &[
            // Nothing to do.
            (&["m", "a", "b", "c"], None),
            (&["m", "a n", "b", "c"], None),
            // One after the other, over all domains.
            (&["m o", "a o", "b o", "c o"], Some("a")),
            (&["m o", "a oe", "b o", "c o"], None),
            (&["m o", "b o", "c o"], None),
            (&["m o", "a d", "b o", "c o"], None),
            (&["m o", "a n", "b o", "c o"], None),
            (&["m o", "a s", "b o", "c o"], None),
            (&["m o", "a", "b o", "c o"], Some("b")),
            (&["m o", "a", "b", "c o"], Some("c")),
            // The master: last, and only when all are back.
            (&["m o", "a", "b", "c n"], None),
            (&["m o", "a", "b", "c s"], None),
            (&["m o", "a", "b"], None),
            (&["m o", "a", "b", "c"], Some("m")),
            (&["m oe", "a", "b", "c"], None),
            // Nobody can say who is well: nothing goes.
            (&["m", "a ou", "b ou", "c ou"], None),
            (&["m n", "a onu", "b onu", "c onu"], None),
            (&["m d", "a onu", "b onu", "c onu"], None),
            // The one that is unwell itself may go when the others are well.
            (&["m", "a", "b on", "c"], Some("b")),
            (&["m", "a", "b os", "c"], Some("b")),
            (&["m", "a o", "b on", "c"], Some("b")),
            // Broken by what it runs: it goes first, however the others are.
            (&["m", "a d", "b od", "c"], Some("b")),
            (&["m", "a d", "b onsl", "c"], Some("b")),
            (&["m", "a", "b onsl", "c onsl"], Some("b")),
            // Not while another one ends, unless there is nothing left to end.
            (&["m", "a", "b onsle", "c onsl"], None),
            (&["m", "a e", "b onsl", "c"], None),
            (&["m", "a oe", "b od", "c o"], Some("b")),
            (&["m od", "a onu", "b onu", "c onu"], Some("m")),
            (&["m onl", "a nu", "b nu", "c nu"], Some("m")),
            // Perhaps about to serve: a master that starts, chunkservers that have not found a new one yet.
            (&["m on", "a nu", "b nu", "c nu"], None),
            (&["m", "a d", "b ons", "c"], None),
            (&["m", "a ns", "b ons", "c ons"], None),
            (&["m", "a ons", "b ons", "c ons"], None),
            (&["m", "a onul", "b onul", "c onul"], None),
            // Broken but not by what it runs: it is not ours to mend.
            (&["m d", "a", "b", "c"], None),
            (&["m", "a d", "b d", "c d"], None),
            // More are wanted than there are: not while one is missing.
            (&["m o", "a o", "b o"], None),
        ];
        for (pods, expected) in table {
            let observed = observed(pods);
            let next = next(&observed).map(|pod| pod.name.as_str());
            assert_eq!(next, *expected, "{pods:?}");
        }
    }

    #[test]
    fn nothing_goes_before_the_sets_are_seen() {
        let mut observed = observed(&["m", "a o", "b", "c"]);
        assert!(next(&observed).is_some());
        observed.settled = false;
        assert_eq!(next(&observed), None);
        assert!(observed.is_outdated());
    }

    #[test]
    fn no_chunkserver_goes_while_replicas_lack_what_the_last_one_missed() {
        assert_eq!(next(&lacking(&["m o", "a", "b o", "c o"])), None);
        let unknown = Observed { chunks: None, ..observed(&["m o", "a", "b o", "c o"]) };
        assert_eq!(next(&unknown), None);
        // These take no replica away.
        let name = |observed| next(&observed).map(|pod| pod.name.clone());
        assert_eq!(name(lacking(&["m", "a", "b od", "c o"])).as_deref(), Some("b"));
        assert_eq!(name(lacking(&["m o", "a", "b", "c"])).as_deref(), Some("m"));
    }

    #[test]
    fn a_person_is_called_when_replicas_lack_for_long_and_nothing_else_is_in_the_way() {
        let waits = |observed: &Observed| match held(observed) {
            Some(Held::ReplicasMissing(pod, _)) => Some(pod.name.clone()),
            other => other.map(|other| panic!("{other:?}")),
        };
        let texts = ["m o", "a", "b o", "c o"];
        assert_eq!(waits(&lacking(&texts)).as_deref(), Some("b"));
        assert_eq!(waits(&Observed { back_long: false, ..lacking(&texts) }), None);
        assert_eq!(waits(&observed(&texts)), None);
        // Another one is on its way, or there is nothing to restart.
        assert_eq!(waits(&lacking(&["m", "a", "b od", "c o"])), None);
        assert_eq!(waits(&lacking(&["m", "a n", "b o", "c o"])), None);
        assert_eq!(waits(&lacking(&["m", "a", "b", "c"])), None);
    }

    #[test]
    fn a_pod_whose_volume_would_go_with_it_stays_and_holds_up_what_serves() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&["m", "a ov", "b", "c"], None),
            (&["m", "a odv", "b", "c"], None),
            (&["m", "a onslv", "b", "c"], None),
            (&["m ov", "a", "b", "c"], None),
            (&["m odv", "a", "b", "c"], None),
            // What it holds may be all there is of a chunk soon.
            (&["m", "a v", "b o", "c"], None),
            (&["m o", "a v", "b", "c"], None),
            (&["m", "a v", "b od", "c"], Some("b")),
        ];
        for (pods, expected) in table {
            let observed = observed(pods);
            assert_eq!(next(&observed).map(|pod| pod.name.as_str()), *expected, "{pods:?}");
            let held = held(&observed);
            assert!(matches!(held, Some(Held::VolumeGoes(pod)) if pod.volume_goes), "{pods:?}");
        }
        assert!(held(&observed(&["m", "a v", "b", "c"])).is_some(), "nothing is to be restarted");
        assert_eq!(held(&observed(&["m", "a ev", "b", "c"])), None, "it ends already");
        assert_eq!(held(&observed(&["m", "a", "b", "c"])), None);
    }

    /// Whatever the states are: it is never a pod that serves, or may be about to, while another chunkserver does not.
    #[test]
    fn no_two_serving_chunkservers_are_ever_away() {
        let states = [
            "", "o", "oe", "od", "on", "os", "ons", "onsl", "onsle", "onl", "ou", "onu", "onul",
            "d", "n", "s", "e", "v", "ov", "odv", "onslv",
        ];
        for a in states {
            for b in states {
                for c in states {
                    for m in ["", "o", "on", "onl", "od", "oe", "ov", "odv"] {
                        let texts = [("m", m), ("a", a), ("b", b), ("c", c)];
                        let texts = texts.map(|(name, letters)| format!("{name} {letters}"));
                        let observed = observed(&texts.each_ref().map(String::as_str));
                        let Some(next) = next(&observed) else { continue };
                        assert!(next.outdated && !next.ending, "{texts:?}");
                        assert!(!next.volume_goes, "{texts:?}");
                        let others_well = observed
                            .chunkservers()
                            .filter(|pod| pod.uid != next.uid)
                            .all(PodView::is_well);
                        let none_ends = observed.pods.iter().all(|pod| !pod.ending);
                        let serves_nobody =
                            !next.running || (next.unready_long && !next.ready && none_ends);
                        assert!(others_well || serves_nobody, "{texts:?}: {}", next.name);
                    }
                }
            }
        }
    }
}
