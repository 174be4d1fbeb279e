//! Decision records: numbered pages, each in the index.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::workspace::Workspace;

const FOLDER: &str = "docs/adr";
const INDEX: &str = "docs/adr/README.md";

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let index = workspace.text(Path::new(INDEX))?.unwrap_or_default();
    let files = workspace.files()?;
    let pages = files.iter().filter(|path| path.starts_with(FOLDER) && *path != Path::new(INDEX));
    let names: Vec<_> = pages.filter_map(|path| path.file_name()?.to_str()).collect();
    Ok(judge(&names, &index))
}

fn judge(names: &[&str], index: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut taken = BTreeMap::new();
    for name in names {
        let path = Path::new(FOLDER).join(name);
        let Some(number) = number(name) else {
            findings.push(Finding::whole(path, "a decision is named NNNN-title.md, in lower case"));
            continue;
        };
        if let Some(other) = taken.insert(number, name) {
            findings.push(Finding::whole(&path, format!("its number is taken by {other}")));
        }
        if !index.contains(&format!("({name})")) {
            findings.push(Finding::whole(path, format!("not linked in {INDEX}")));
        }
    }
    findings
}

/// The number of a well-formed name.
fn number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let well_formed = number.len() == 4
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !title.is_empty()
        && title
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    well_formed.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_four_digits_and_a_title() {
        assert_eq!(number("0012-one-apply.md"), Some("0012"));
        for name in ["12-one.md", "0012.md", "0012-.md", "0012-One.md", "0012-one.txt", "notes.md"]
        {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn pages_are_numbered_once_and_listed() {
        assert!(judge(&["0001-a.md"], "- [A](0001-a.md)").is_empty());
        assert_eq!(judge(&["0001-a.md"], "").len(), 1);
        assert_eq!(judge(&["0001-a.md", "0001-b.md"], "(0001-a.md) (0001-b.md)").len(), 1);
        assert_eq!(judge(&["a.md"], "(a.md)").len(), 1);
    }
}
