//! `docs/metrics.md` lists exactly the metrics that the source declares.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::{Finding, source};
use crate::workspace::Workspace;

const PAGE: &str = "docs/metrics.md";

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut declared = BTreeSet::new();
    for (path, lines) in source::production(workspace)? {
        if declares(&path) {
            let code = lines.iter().filter(|line| !source::is_comment(line));
            declared.extend(code.flat_map(|line| quoted(line, '"')));
        }
    }
    let page = Path::new(PAGE);
    let listed = match workspace.root.join(page).is_file() {
        true => workspace.text(page)?.unwrap_or_default(),
        false => String::new(),
    };
    Ok(compare(&declared, &listed.lines().flat_map(|line| quoted(line, '`')).collect()))
}

/// Where metrics are declared: `metrics.rs` of a server, and the crate of what all servers share.
fn declares(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "metrics.rs") && !path.starts_with("xtask")
        || path.starts_with("common/telemetry")
}

/// The names of metrics that stand in a line between two `quote`s.
fn quoted(line: &str, quote: char) -> Vec<String> {
    line.split(quote).skip(1).step_by(2).filter(|name| is_metric(name)).map(str::to_owned).collect()
}

fn is_metric(name: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    // A bare prefix such as "gfs_master_" is a piece of a name.
    name.strip_prefix("gfs_").is_some_and(|rest| rest.bytes().all(part) && !rest.ends_with('_'))
        && name.matches('_').count() >= 2
}

fn compare(declared: &BTreeSet<String>, listed: &BTreeSet<String>) -> Vec<Finding> {
    let missing = declared.difference(listed).map(|name| format!("`{name}` is not listed"));
    let gone = listed.difference(declared).map(|name| format!("`{name}` is declared nowhere"));
    missing.chain(gone).map(|message| Finding::whole(PAGE, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_between_quotes() {
        let line = r#"counter("gfs_master_records_total", "Records", "gfs_master_")"#;
        assert_eq!(quoted(line, '"'), ["gfs_master_records_total"]);
        assert_eq!(quoted("| `gfs_master_log_bytes` | bytes |", '`'), ["gfs_master_log_bytes"]);
        assert!(quoted("gfs_master_records_total", '"').is_empty());
    }

    #[test]
    fn both_directions_are_compared() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert!(compare(&set(&["gfs_a_b"]), &set(&["gfs_a_b"])).is_empty());
        let findings = compare(&set(&["gfs_a_b"]), &set(&["gfs_c_d"]));
        assert_eq!(findings.len(), 2);
        assert!(findings[0].message.contains("gfs_a_b") && findings[1].message.contains("gfs_c_d"));
    }

    #[test]
    fn metrics_are_declared_in_few_places() {
        assert!(declares(Path::new("master/src/metrics.rs")));
        assert!(declares(Path::new("common/telemetry/src/process.rs")));
        assert!(!declares(Path::new("master/src/driver.rs")));
        assert!(!declares(Path::new("xtask/src/tidy/metrics.rs")));
    }
}
