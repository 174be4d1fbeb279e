//! On-disk formats are contracts: the code that writes one names its page, and the page exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Finding;
use crate::workspace::Workspace;

const FOLDER: &str = "docs/formats/";

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut named = BTreeMap::new();
    for (path, text) in workspace.texts(&["rs"])? {
        // The checks themselves speak of pages that do not exist.
        if !path.starts_with("xtask") {
            named.extend(text.lines().flat_map(pages).map(|page| (page, path.clone())));
        }
    }
    let files = workspace.files()?;
    let pages: Vec<_> = files.iter().filter(|path| path.starts_with(FOLDER)).collect();
    Ok(compare(&named, &pages))
}

/// The pages of formats that a line names.
fn pages(line: &str) -> Vec<PathBuf> {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character));
    let names = line.split(FOLDER).skip(1).filter_map(|rest| rest.split(ends).next());
    let pages = names.map(|name| name.trim_end_matches('.')).filter(|name| !name.is_empty());
    pages.map(|name| Path::new(FOLDER).join(name)).collect()
}

fn compare(named: &BTreeMap<PathBuf, PathBuf>, pages: &[&PathBuf]) -> Vec<Finding> {
    let missing = named.iter().filter(|(page, _)| !pages.contains(page));
    let missing = missing.map(|(page, by)| {
        Finding::whole(by, format!("names {}, which does not exist", page.display()))
    });
    let is_page = |page: &&&PathBuf| {
        page.extension().is_some_and(|ending| ending == "md") && !page.ends_with("README.md")
    };
    let unused = pages.iter().filter(is_page).filter(|page| !named.contains_key(**page));
    let unused = unused.map(|page| {
        Finding::whole(
            *page,
            "no source file names this page: link it from the code that writes the format",
        )
    });
    missing.chain(unused).collect()
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
    fn a_page_needs_code_and_code_needs_its_page() {
        let log = PathBuf::from("docs/formats/log.md");
        let index = PathBuf::from("docs/formats/README.md");
        let named = BTreeMap::from([(log.clone(), PathBuf::from("a.rs"))]);
        assert!(compare(&named, &[&log, &index]).is_empty());
        assert_eq!(compare(&named, &[&index]).len(), 1);
        assert_eq!(compare(&BTreeMap::new(), &[&log, &index]).len(), 1);
    }
}
