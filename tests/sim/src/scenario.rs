//! Worlds that once showed something, written down: the draws of a seed may change, these stay.
//!
//! A file says all that a seed would draw before anything happens: the configuration, and when which faults come. What is left to chance
//! (whom a fault hits, how long a message takes) comes from its seed, and from some beside it: what a run meets there
//! changes with the code, and so a scenario is a few worlds around the one that showed it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use gfs_types::region::ChunkSize;
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Planned};
use crate::run::Outcome;
use crate::shrink::Cut;
use crate::swarm::Swarm;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it showed, and which test shows it alone.
    pub showed: String,
    /// Where chance comes from.
    pub seed: u64,
    /// So many worlds: of this seed, and of those behind it.
    pub seeds: u64,
    /// The configuration.
    pub world: Swarm,
    /// Clients that do nothing.
    #[serde(default)]
    pub without_clients: BTreeSet<usize>,
    /// The faults that come one at a time.
    pub faults: Vec<Planned>,
}

/// Worlds of a scenario that was just written down.
const BESIDE: u64 = 4;

impl Scenario {
    /// What a run was, so that it can be again.
    #[must_use]
    pub fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let first = outcome.violations.first().and_then(|violation| violation.lines().next());
        Self {
            showed: first.unwrap_or("nothing").to_owned(),
            seed: plan.seed,
            seeds: BESIDE,
            world: plan.swarm.clone(),
            without_clients: plan.cut.clients.clone(),
            faults: outcome.script.clone(),
        }
    }

    /// Its worlds.
    pub fn plans(&self) -> impl Iterator<Item = Plan> {
        (self.seed..self.seed.saturating_add(self.seeds)).map(|seed| Plan {
            seed,
            swarm: self.world.clone(),
            cut: Cut { clients: self.without_clients.clone(), ..Cut::default() },
            script: Some(self.faults.iter().copied().collect()),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it says what no scenario says, or no world can be like that.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = serde_yaml::from_str(text).context("no scenario")?;
        check(&scenario.world).context("no world is like that")?;
        anyhow::ensure!(scenario.seeds > 0, "a scenario of no seeds");
        let times = scenario.faults.iter().map(|fault| fault.after_us);
        anyhow::ensure!(times.is_sorted(), "its faults are not in order of time");
        Ok(scenario)
    }

    /// Writes a file: YAML, with a line for each field and each fault.
    ///
    /// # Errors
    /// None that can happen: whatever there is can be written.
    pub fn write(&self) -> anyhow::Result<String> {
        let mut text = format!("showed: {}\n", serde_json::to_string(&self.showed)?);
        text += &format!("seed: {}\nseeds: {}\nworld:\n", self.seed, self.seeds);
        if let serde_json::Value::Object(world) = serde_json::to_value(&self.world)? {
            text.extend(world.iter().map(|(name, value)| format!("  {name}: {value}\n")));
        }
        text += &format!("without_clients: {}\n", serde_json::to_string(&self.without_clients)?);
        text += if self.faults.is_empty() { "faults: []\n" } else { "faults:\n" };
        for fault in &self.faults {
            text += &format!("- {}\n", serde_json::to_string(fault)?);
        }
        Ok(text)
    }
}

/// What the rest of the program takes for granted, because it is always drawn so.
fn check(world: &Swarm) -> anyhow::Result<()> {
    ChunkSize::new(world.chunk_bytes)?;
    anyhow::ensure!(world.servers > 0, "no servers");
    anyhow::ensure!(world.overwriters > 0, "no overwriters, whom somebody looks at");
    anyhow::ensure!(world.rate_ppm < 1_000_000, "clocks that stand still");
    for (least, most) in [world.fault_every, world.sync] {
        anyhow::ensure!(least <= most, "from {least} to {most}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run_plan;
    use crate::swarm::Fault;
    use crate::trace::Traced;

    #[test]
    fn what_was_written_is_the_world_of_its_seed() -> anyhow::Result<()> {
        let plan = Plan::drawn(3, &Cut::default());
        let outcome = run_plan(&plan, Traced::Hashed);
        assert!(outcome.script.len() > 5, "{:?}", outcome.script);
        let written = Scenario::of(&plan, &outcome);
        let read = Scenario::read(&written.write()?)?;
        assert_eq!(read, written);
        let again = read.plans().next().map(|plan| run_plan(&plan, Traced::Hashed));
        assert_eq!(
            again.map(|again| (again.hash, again.script)),
            Some((outcome.hash, outcome.script))
        );
        Ok(())
    }

    #[test]
    fn what_a_file_does_not_say_is_calm_and_what_no_world_has_is_refused() -> anyhow::Result<()> {
        let kill = "- {number: 7, after_us: 5, kind: Kill}";
        let text =
            format!("showed: x\nseed: 9\nseeds: 2\nworld: {{servers: 5}}\nfaults:\n{kill}\n");
        let scenario = Scenario::read(&text)?;
        assert_eq!(scenario.world, Swarm { servers: 5, ..Swarm::default() });
        let planned = Planned { number: 7, after_us: 5, kind: Fault::Kill };
        assert_eq!(scenario.faults, [planned]);
        assert_eq!(scenario.plans().map(|plan| plan.seed).collect::<Vec<_>>(), [9, 10]);
        let bad = [
            text.replace("Kill", "Killl"),
            text.replace("servers: 5", "servants: 5"),
            text.replace("servers: 5", "servers: 0"),
            text.replace("seeds: 2", "seeds: 0"),
            format!("{text}- {{number: 8, after_us: 4, kind: Kill}}\n"),
        ];
        for text in bad {
            assert!(Scenario::read(&text).is_err(), "{text}");
        }
        Ok(())
    }
}
