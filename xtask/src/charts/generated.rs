//! What of the charts is made of something else: the tables of values, and the copies of `crds/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{CHARTS, folder, values};

const TABLE_BEGINS: &str = "<!-- values: made of values.yaml by `cargo xtask fix` -->\n";
const TABLE_ENDS: &str = "<!-- end of values -->\n";

/// A file, and what must be in it.
pub(crate) struct Generated {
    pub(crate) path: PathBuf,
    text: String,
}

impl Generated {
    /// Whether it is so.
    pub(crate) fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }

    /// Makes it so.
    pub(crate) fn write(&self) -> Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        let parent = self.path.parent().with_context(failed)?;
        fs::create_dir_all(parent).with_context(failed)?;
        fs::write(&self.path, &self.text).with_context(failed)
    }
}

/// Every such file of the charts.
pub(crate) fn all(root: &Path) -> Result<Vec<Generated>> {
    let mut all = definitions(root)?;
    for chart in CHARTS {
        all.push(readme(&folder(root, chart))?);
    }
    Ok(all)
}

/// A chart reads no file outside of its folder.
fn definitions(root: &Path) -> Result<Vec<Generated>> {
    let sources = root.join("crds");
    let copies = folder(root, "gfs-operator").join("files/crds");
    let failed = || format!("cannot read {}", sources.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(&sources).with_context(failed)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            let text = read(&entry.path())?;
            anyhow::ensure!(
                !text.contains("{{"),
                "{}: Helm would read {{{{",
                entry.path().display()
            );
            all.push(Generated { path: copies.join(entry.file_name()), text });
        }
    }
    anyhow::ensure!(!all.is_empty(), "no definition in {}", sources.display());
    Ok(all)
}

fn readme(chart: &Path) -> Result<Generated> {
    let (path, source) = (chart.join("README.md"), chart.join("values.yaml"));
    let table = values::table(&read(&source)?).with_context(|| source.display().to_string())?;
    let text = with_table(&read(&path)?, &table).with_context(|| path.display().to_string())?;
    Ok(Generated { path, text })
}

/// The page with this table in the place of its own.
fn with_table(page: &str, table: &str) -> Result<String> {
    let no_place = || format!("it has no {TABLE_BEGINS}and {TABLE_ENDS}");
    let (before, rest) = page.split_once(TABLE_BEGINS).with_context(no_place)?;
    let (_, after) = rest.split_once(TABLE_ENDS).with_context(no_place)?;
    Ok(format!("{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_of_a_page_is_replaced() {
        let page = format!("# Chart\n{TABLE_BEGINS}old\n{TABLE_ENDS}end\n");
        let new = with_table(&page, "| a |\n").expect("it has a place");
        assert_eq!(new, format!("# Chart\n{TABLE_BEGINS}\n| a |\n\n{TABLE_ENDS}end\n"));
        assert_eq!(with_table(&new, "| a |\n").expect("still"), new);
        assert!(with_table("# Chart\n", "").is_err());
    }
}
