//! A panic without a reason has no place outside tests: `expect("why it cannot fail")` gives one.

use anyhow::Result;

use super::{Finding, source};
use crate::workspace::Workspace;

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, lines) in source::production(workspace)? {
        for (index, line) in lines.iter().enumerate() {
            if unwraps(line) {
                let message = "unwrap: return the error, or `expect` with why it cannot fail";
                findings.push(Finding::at(&path, index + 1, message));
            }
        }
    }
    Ok(findings)
}

fn unwraps(line: &str) -> bool {
    // In two pieces, so that this file does not find itself.
    line.contains(concat!(".unwrap", "()")) && !source::is_comment(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_and_comments_are_not() {
        assert!(unwraps("    let a = b.unwrap();"));
        assert!(!unwraps("    /// let a = b.unwrap();"));
        assert!(!unwraps("    let a = b.unwrap_or_default();"));
    }
}
