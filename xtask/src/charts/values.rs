//! `values.yaml` as the table that the README of a chart shows.
//!
//! Written so that a person reads it: every value is on one line, with what it means in a comment above it. A key without
//! a value on its line holds those that are indented below it.

use anyhow::{Context, Result, bail};

/// One value of a chart.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    default: String,
    about: String,
}

/// All values, their defaults and their meanings, as Markdown.
pub(super) fn table(values: &str) -> Result<String> {
    let mut table = String::from("| Value | Default | |\n|---|---|---|\n");
    for Row { name, default, about } in rows(values)? {
        table += &format!("| `{name}` | `{default}` | {about} |\n");
    }
    Ok(table)
}

fn rows(values: &str) -> Result<Vec<Row>> {
    let (mut rows, mut path, mut about) = (Vec::new(), Vec::<(usize, String)>::new(), Vec::new());
    for (number, line) in values.lines().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.is_empty() {
            about.clear();
        } else if let Some(comment) = text.strip_prefix('#') {
            about.push(comment.trim());
        } else {
            let place = || format!("line {}: {line}", number + 1);
            let (key, default) = text.split_once(':').with_context(place)?;
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key.to_owned()));
            let comment = std::mem::take(&mut about).join(" ");
            let default = default.trim();
            if default.is_empty() {
                continue;
            }
            if comment.is_empty() {
                bail!("{}: no comment says what it is", place());
            }
            let name = path.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
            rows.push(Row { name, default: default.to_owned(), about: comment });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_a_row_with_its_whole_name() {
        let values = "\
# What the file is.

a:
  # The first,
  # on two lines.
  b: {c: 1}
  d:
    # Deep.
    e: \"\"
# Last.
f: [x]
";
        let row = |name: &str, default: &str, about: &str| Row {
            name: name.to_owned(),
            default: default.to_owned(),
            about: about.to_owned(),
        };
        let expected = [
            row("a.b", "{c: 1}", "The first, on two lines."),
            row("a.d.e", "\"\"", "Deep."),
            row("f", "[x]", "Last."),
        ];
        assert_eq!(rows(values).expect("all is well"), expected);
        assert!(table(values).expect("well").ends_with("| `f` | `[x]` | Last. |\n"));
    }

    #[test]
    fn a_value_without_a_comment_is_refused_with_its_line() {
        for values in ["# About.\n\na: 1\n", "# A.\na: 1\nb: 2\n", "just text\n"] {
            let error = rows(values).expect_err(values).to_string();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
