//! Relative links of Markdown pages lead to files of the repository.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::Finding;
use crate::workspace::Workspace;

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (page, text) in workspace.texts(&["md"])? {
        for (line, target) in links(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let path = inside(page.parent().unwrap_or(Path::new("")), file);
            if !path.is_some_and(|path| workspace.root.join(path).exists()) {
                findings.push(Finding::at(&page, line, format!("the link {target} leads nowhere")));
            }
        }
    }
    Ok(findings)
}

/// The targets of all inline links, with the line on which each stands; code is left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let prose: String = line.split('`').step_by(2).collect();
            let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| (index + 1, target.to_owned())));
        }
    }
    links
}

/// Where a link leads, relative to the root; `None` when it leaves the repository.
fn inside(folder: &Path, target: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => path.pop().then_some(())?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_prose_only() {
        let text = "[a](b.md) and [c](d.md#e)\n`[x](y.md)`\n```\n[x](y.md)\n```\n[f](https://g)";
        let expected = [(1, "b.md"), (1, "d.md#e"), (6, "https://g")];
        assert_eq!(links(text), expected.map(|(line, link)| (line, link.to_owned())));
    }

    #[test]
    fn the_text_of_a_link_may_be_code() {
        assert_eq!(links("[`a`](b.md)"), [(1, "b.md".to_owned())]);
    }

    #[test]
    fn a_link_is_resolved_from_its_page_and_stays_inside() {
        assert_eq!(inside(Path::new("docs/adr"), "../cli.md"), Some("docs/cli.md".into()));
        assert_eq!(inside(Path::new(""), "./README.md"), Some("README.md".into()));
        assert_eq!(inside(Path::new("docs"), "../../x.md"), None);
        assert_eq!(inside(Path::new("docs"), "/etc/hosts"), None);
    }
}
