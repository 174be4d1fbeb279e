//! A page that says which test keeps a promise names a test that exists.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::workspace::Workspace;

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (page, text) in workspace.texts(&["md"])? {
        for (index, line) in text.lines().enumerate() {
            for (file, test) in named_tests(line) {
                if !has_test(workspace, file, test)? {
                    let message = format!("there is no test {test} in {file}");
                    findings.push(Finding::at(&page, index + 1, message));
                }
            }
        }
    }
    Ok(findings)
}

/// What stands in a line as `path.rs::test`, between backquotes.
fn named_tests(line: &str) -> Vec<(&str, &str)> {
    let code = line.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

fn has_test(workspace: &Workspace, file: &str, test: &str) -> Result<bool> {
    let path = Path::new(file);
    if !workspace.root.join(path).is_file() {
        return Ok(false);
    }
    // The last part is the function; modules may stand before it.
    let function = format!("fn {}(", test.rsplit("::").next().unwrap_or(test));
    Ok(workspace.text(path)?.is_some_and(|text| text.contains(&function)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_by_file_and_function() {
        let line =
            "| A | kept | `a/tests/b.rs::works`, `c.rs::m::holds` | `Type::new` | `path::name` |";
        assert_eq!(named_tests(line), [("a/tests/b.rs", "works"), ("c.rs", "m::holds")]);
    }

    #[test]
    fn a_test_is_looked_for_in_its_file() {
        let workspace = Workspace::find().expect("tests run inside the workspace");
        let has = |file, test| has_test(&workspace, file, test).expect("the file is read");
        assert!(has("xtask/src/tidy/promises.rs", "tests::a_test_is_looked_for_in_its_file"));
        assert!(!has("xtask/src/tidy/promises.rs", "tests::no_such_test"));
        assert!(!has("xtask/src/tidy/no_such_file.rs", "works"));
    }
}
