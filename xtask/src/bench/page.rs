//! `docs/performance.md`: the table of the last whole run, and what people wrote around it.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::figures::{Measured, number};
use super::lab::Scale;
use super::machine;
use super::rows::Row;
use crate::workspace::Workspace;

pub(crate) const PATH: &str = "docs/performance.md";
/// Between these two lines stands what was measured; all else is written by hand and kept.
const BEGIN: &str = "<!-- measured: from here on by `cargo xtask bench` -->";
const END: &str = "<!-- measured: up to here -->";

/// When, where and what.
pub(crate) struct Header {
    date: String,
    machine: String,
    commit: String,
    rounds: u32,
    scale: Scale,
}

impl Header {
    pub(crate) fn now(workspace: &Workspace, rounds: u32, scale: Scale) -> Result<Self> {
        let (date, commit) = (machine::date()?, machine::commit(workspace)?);
        Ok(Self { date, machine: machine::describe(), commit, rounds, scale })
    }

    fn text(&self) -> String {
        let Self { date, machine, commit, rounds, scale } = self;
        let quick = match scale {
            Scale::Full => "",
            Scale::Quick => {
                " **A quick run: a tenth of the load and of the time, to see whether everything works. Its figures say little.**"
            }
        };
        let rounds = if *rounds == 1 { "one round".to_owned() } else { format!("{rounds} rounds") };
        format!("Measured on {date} UTC at commit {commit}, {rounds}, on: {machine}.{quick}\n")
    }
}

/// A line for each target.
pub(crate) fn table(rows: &[&Row], measured: &Measured) -> String {
    let mut text = String::from("| | median | least – most | target | |\n|---|---|---|---|---|\n");
    for row in rows {
        for target in row.targets {
            let Some(spread) = measured.spread(row.name, target.figure) else { continue };
            let range = if spread.rounds > 1 {
                format!("{} – {}", number(spread.least), number(spread.most))
            } else {
                String::new()
            };
            let verdict = match target.bound.is_met_by(spread.median) {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "",
            };
            let (median, bound) = (number(spread.median), target.bound.text());
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "| {} | {median} | {range} | {bound} | {verdict} |", target.what);
        }
    }
    text
}

/// Puts what was measured into its place in the page.
pub(crate) fn write(workspace: &Workspace, header: &Header, table: &str) -> Result<()> {
    let path = workspace.root.join(PATH);
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {PATH}"))?;
    let page = replace(&page, &format!("{}\n{table}", header.text()))?;
    std::fs::write(&path, page).with_context(|| format!("cannot write {PATH}"))
}

fn replace(page: &str, measured: &str) -> Result<String> {
    let (before, rest) =
        page.split_once(BEGIN).with_context(|| format!("{PATH} has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{PATH} has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{measured}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figures;
    use crate::bench::rows::ROWS;

    #[test]
    fn what_was_written_by_hand_is_kept() {
        let page = format!("# a\n{BEGIN}\nold\n{END}\n## b\n");
        let once = replace(&page, "new\n").expect("the lines are there");
        assert_eq!(once, format!("# a\n{BEGIN}\n\nnew\n\n{END}\n## b\n"));
        assert_eq!(replace(&once, "new\n").expect("the lines are still there"), once);
        assert!(replace("# a\n", "new").is_err());
    }

    #[test]
    fn the_page_in_the_tree_has_the_two_lines() {
        let workspace = Workspace::find().expect("tests run inside the workspace");
        let page = std::fs::read_to_string(workspace.root.join(PATH)).expect("the page is there");
        assert!(replace(&page, "").is_ok());
    }

    #[test]
    fn a_target_is_held_against_the_median() {
        let mut measured = Measured::default();
        for cpu in [1.0, 1.2, 2.0] {
            measured.add("write", Figures::from([("cpu", cpu), ("rate", 0.5)]));
        }
        let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name == "write").collect();
        let table = table(&rows, &measured);
        assert!(table.contains("| 1.20 | 1 – 2 | ≤ 1.25 | met |"), "{table}");
        assert!(table.contains("| 0.50 | 0.50 – 0.50 | ≥ 0.75 | **not met** |"), "{table}");
    }
}
