//! Rust source as the checks see it: which part of which file is production code.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace::Workspace;

/// The production part of every Rust file: its path and its lines before the tests.
pub(super) fn production(workspace: &Workspace) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let sources = workspace.texts(&["rs"])?;
    let modules: Vec<_> =
        sources.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let ours = sources.into_iter().filter(|(path, _)| {
        !in_test_folder(path) && !modules.iter().any(|module| is_part_of(path, module))
    });
    Ok(ours.map(|(path, text)| (path, before_tests(&text))).collect())
}

fn in_test_folder(path: &Path) -> bool {
    let folders = ["tests", "benches", "examples", "fuzz"];
    path.iter().any(|part| folders.iter().any(|folder| part == *folder))
}

/// The modules with files of their own that a file has for tests only: their paths, without `.rs`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default();
    let is_root = ["lib", "main", "mod"].iter().any(|name| stem == *name);
    let folder = if is_root { path.with_file_name("") } else { path.with_extension("") };
    let lines: Vec<_> = text.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = pairs.filter_map(|pair| pair[1].split_once("mod ")?.1.strip_suffix(';'));
    names.map(|name| folder.join(name)).collect()
}

/// Whether a file is a module, or lies below it.
fn is_part_of(path: &Path, module: &Path) -> bool {
    path.with_extension("") == module || path.starts_with(module)
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
    fn test_folders_are_known_by_their_names() {
        for path in ["tests/src/lib.rs", "client/examples/read.rs", "a/benches/b.rs"] {
            assert!(in_test_folder(Path::new(path)), "{path}");
        }
        for path in ["a/src/lib.rs", "xtask/src/test.rs", "xtask/src/test/steps.rs"] {
            assert!(!in_test_folder(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn modules_for_tests_are_found_where_their_files_lie() {
        let text = "#[cfg(test)]\nmod testing;\nmod real;\n#[cfg(test)]\nmod inline {\n";
        assert_eq!(test_modules(Path::new("a/src/lib.rs"), text), [PathBuf::from("a/src/testing")]);
        let of_log = test_modules(Path::new("a/src/log.rs"), text);
        assert_eq!(of_log, [PathBuf::from("a/src/log/testing")]);
        let module = Path::new("a/src/testing");
        assert!(is_part_of(Path::new("a/src/testing.rs"), module));
        assert!(is_part_of(Path::new("a/src/testing/bench.rs"), module));
        assert!(!is_part_of(Path::new("a/src/testing_more.rs"), module));
    }
}
