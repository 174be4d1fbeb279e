//! Rust source as the checks see it: which part of which file is production code.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace::Workspace;

/// The production part of every Rust file: its path and its lines before the tests.
pub(super) fn production(workspace: &Workspace) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let sources = workspace.texts(&["rs"])?.into_iter().filter(|(path, _)| !is_test_file(path));
    Ok(sources.map(|(path, text)| (path, before_tests(&text))).collect())
}

/// Files that are tests as a whole: test folders, `tests.rs` beside a module, benches, examples, fuzzing.
fn is_test_file(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let folders = ["tests", "benches", "examples", "fuzz"];
    parts.iter().any(|part| folders.contains(&part.as_ref()))
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// The lines up to an inline test module; `mod tests;` with the body elsewhere ends nothing.
fn before_tests(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |index: usize| {
        lines[index] == "#[cfg(test)]"
            && lines[index + 1..]
                .iter()
                .find(|line| !line.starts_with("#["))
                .is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
    };
    let end = (0..lines.len()).find(|index| is_start(*index)).unwrap_or(lines.len());
    lines[..end].iter().map(ToString::to_string).collect()
}

/// Whether a line is only a comment (doc comments included).
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_ends_where_an_inline_test_module_begins() {
        assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\nb\n}\n"), ["a"]);
        assert_eq!(before_tests("a\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n"), ["a"]);
        assert_eq!(before_tests("#[cfg(test)]\nmod tests;\na\n").len(), 3);
        assert_eq!(before_tests("#[cfg(test)]\nfn helper() {}\na\n").len(), 3);
        assert_eq!(before_tests("a\n#[cfg(test)]").len(), 2);
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        for path in
            ["tests/src/lib.rs", "client/examples/read.rs", "a/src/log/tests.rs", "a/benches/b.rs"]
        {
            assert!(is_test_file(Path::new(path)), "{path}");
        }
        for path in ["a/src/lib.rs", "xtask/src/test.rs", "xtask/src/test/steps.rs"] {
            assert!(!is_test_file(Path::new(path)), "{path}");
        }
    }
}
