//! Nothing in the repository names a place of the machine on which it was written.

use anyhow::Result;

use super::Finding;
use crate::workspace::Workspace;

/// Each in two pieces, so that this file does not find itself.
const FORBIDDEN: [(&str, &str); 7] = [
    (concat!("/ro", "ot"), "a home directory"),
    (concat!("/home", "/"), "a home directory"),
    (concat!("/Use", "rs/"), "a home directory"),
    (concat!("/wo", "rk"), "a work tree of one machine"),
    (concat!("/tmp/tar", "get"), "a build directory of one machine"),
    (concat!("../sha", "red"), "a folder outside the repository"),
    (concat!("arti", "factory"), "a private registry"),
];

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, text) in workspace.texts(&[])? {
        for (index, line) in text.lines().enumerate() {
            for (word, what) in FORBIDDEN.iter().filter(|(word, _)| names(line, word)) {
                let message = format!("`{word}` is {what}: others do not have it");
                findings.push(Finding::at(&path, index + 1, message));
            }
        }
    }
    Ok(findings)
}

/// Whether `word` stands in the line as a path of its own: not as a part of a longer name.
fn names(line: &str, word: &str) -> bool {
    let part = |character: char| character.is_ascii_alphanumeric() || "_-.}".contains(character);
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let open = word.ends_with('/') || after.is_none_or(|next| !part(next) || next == '.');
        open && before.is_none_or(|previous| !part(previous) || !word.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_its_own_is_found_and_a_part_of_a_name_is_not() {
        let home = FORBIDDEN[0].0;
        for line in [format!("cd {home}"), format!("\"{home}/.cargo\""), format!("{home}.")] {
            assert!(names(&line, home), "{line}");
        }
        for line in
            [format!("{home}s"), format!("a{home}"), format!("{home}_inode"), "no".to_owned()]
        {
            assert!(!names(&line, home), "{line}");
        }
    }

    #[test]
    fn a_folder_word_is_found_with_anything_after_it() {
        let home = FORBIDDEN[1].0;
        assert!(names(&format!("in {home}someone/x"), home));
        assert!(!names(&format!("https://example.org{home}x"), home));
    }
}
