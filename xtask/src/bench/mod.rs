//! `cargo xtask bench`: the whole system against what the machine can do at most, and the page that tells of it.
//!
//! Every row of the table measures something and compares it with a target. Where a yardstick does the bytes' work of
//! the same thing and nothing else, both run within the same minute and what counts is their ratio: a shared machine
//! is never twice the same. Rounds go through all rows before the next begins, for the same reason.

mod cluster;
mod figures;
mod guard;
mod lab;
mod machine;
mod page;
mod rows;

use anyhow::Result;
use clap::Args;

use self::figures::Measured;
use self::lab::{Lab, Scale};
use self::rows::{ROWS, Row};
use crate::workspace::Workspace;

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; medians and the spread of them all are told
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these rows; the page stays as it is then
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// One round with a tenth of the load: to see whether everything works
    #[arg(long)]
    quick: bool,
    /// The profile of cargo to build with: `quick` while one works; the page stays as it is then
    #[arg(long, value_name = "PROFILE", default_value = RELEASE)]
    profile: String,
    /// Name the rows and what each measures, and run none
    #[arg(long)]
    list: bool,
}

/// As users get it.
const RELEASE: &str = "release";

/// Runs the rows; false when there is no such row, or one failed. That a target is not met is no failure: the page says so.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    if options.list {
        ROWS.iter().for_each(|row| println!("{:<11} {}", row.name, row.about));
        return Ok(true);
    }
    if let Some(unknown) = options.only.iter().find(|name| ROWS.iter().all(|r| r.name != **name)) {
        println!("there is no row {unknown}: see cargo xtask bench --list");
        return Ok(false);
    }
    let wanted: Vec<&Row> = ROWS
        .iter()
        .filter(|row| options.only.is_empty() || options.only.iter().any(|name| name == row.name))
        .collect();
    let rounds = if options.quick { 1 } else { options.rounds };
    let scale = if options.quick { Scale::Quick } else { Scale::Full };
    let mut lab = Lab::build(workspace, scale, &options.profile)?;
    let mut measured = Measured::default();
    let failures = measure(&mut lab, &wanted, rounds, &mut measured)?;
    let header = page::Header::now(workspace, rounds, scale)?;
    let table = page::table(&wanted, &measured);
    println!("\n{table}");
    if options.only.is_empty() && options.profile == RELEASE {
        page::write(workspace, &header, &table)?;
        println!("written: {}", page::PATH);
    }
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    Ok(failures.is_empty())
}

/// Round after round; what needs a cluster of its own comes when the first one is gone. Gives the failures: a row that fails costs
/// its own figures, not the others'.
fn measure(
    lab: &mut Lab,
    rows: &[&Row],
    rounds: u32,
    measured: &mut Measured,
) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    for apart in [false, true] {
        let of_this: Vec<_> = rows.iter().filter(|row| row.apart == apart).collect();
        if of_this.is_empty() {
            continue;
        }
        for round in 1..=rounds {
            for row in of_this.iter().filter(|row| round == 1 || !row.once) {
                println!("round {round} of {rounds}: {}", row.name);
                let figures = match (row.measure)(lab) {
                    Ok(figures) => figures,
                    Err(error) => {
                        failures.push(format!("{} in round {round}: {error:#}", row.name));
                        println!("  FAILED: {error:#}");
                        continue;
                    }
                };
                measured.add(row.name, figures);
                measured.lines(row).iter().for_each(|line| println!("  {line}"));
            }
        }
        lab.end_cluster()?;
    }
    Ok(failures)
}
