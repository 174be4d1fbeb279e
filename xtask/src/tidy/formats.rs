//! On-disk formats are contracts: the code that writes one names its page, and the page exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Finding;
use crate::workspace::Workspace;

const FOLDER: &str = "docs/formats/";
const INDEX: &str = "docs/formats/README.md";

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut named = BTreeMap::new();
    for (path, text) in workspace.texts(&["rs"])? {
        // The checks themselves speak of pages that do not exist.
        if !path.starts_with("xtask") {
            named.extend(text.lines().flat_map(pages).map(|page| (page, path.clone())));
        }
    }
    let index = workspace.text(Path::new(INDEX))?.unwrap_or_default();
    let files = workspace.files()?;
    let pages = files.iter().filter(|path| path.starts_with(FOLDER) && *path != Path::new(INDEX));
    Ok(compare(&named, &pages.collect::<Vec<_>>(), &index))
}

/// The pages of formats that a line names.
fn pages(line: &str) -> Vec<PathBuf> {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character));
    let names = line.split(FOLDER).skip(1).filter_map(|rest| rest.split(ends).next());
    let pages = names.map(|name| name.trim_end_matches('.')).filter(|name| !name.is_empty());
    pages.map(|name| Path::new(FOLDER).join(name)).collect()
}

/// `named` are the pages that code names, with the file that does.
fn compare(named: &BTreeMap<PathBuf, PathBuf>, pages: &[&PathBuf], index: &str) -> Vec<Finding> {
    let missing = named.iter().filter(|(page, _)| !pages.contains(page)).map(|(page, code)| {
        Finding::whole(code, format!("names {}, which does not exist", page.display()))
    });
    missing.chain(pages.iter().flat_map(|page| judge_page(page, named, index))).collect()
}

fn judge_page(page: &Path, named: &BTreeMap<PathBuf, PathBuf>, index: &str) -> Vec<Finding> {
    let name = page.strip_prefix(FOLDER).unwrap_or(page).display();
    let mut findings = Vec::new();
    if !index.contains(&format!("({name})")) {
        findings.push(Finding::whole(page, format!("not linked in {INDEX}")));
    }
    if page.extension().is_some_and(|ending| ending == "md") && !named.contains_key(page) {
        let message = "no source names this page: the code that writes the format must";
        findings.push(Finding::whole(page, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_in_comments_of_any_shape() {
        let found = pages("//! The bytes: docs/formats/log.md, and `docs/formats/frame.md`.");
        assert_eq!(found, [PathBuf::from("docs/formats/log.md"), "docs/formats/frame.md".into()]);
        assert_eq!(pages("/// see docs/formats/log.md."), [PathBuf::from("docs/formats/log.md")]);
        assert!(pages("the folder docs/formats/").is_empty());
    }

    #[test]
    fn a_page_needs_code_and_index_and_code_needs_its_page() {
        let log = PathBuf::from("docs/formats/log.md");
        let named = BTreeMap::from([(log.clone(), PathBuf::from("a.rs"))]);
        let listed = "[log](log.md)";
        assert!(compare(&named, &[&log], listed).is_empty());
        assert_eq!(compare(&named, &[], listed).len(), 1);
        assert_eq!(compare(&named, &[&log], "").len(), 1);
        assert_eq!(compare(&BTreeMap::new(), &[&log], listed).len(), 1);
    }
}
