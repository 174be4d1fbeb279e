//! The step `charts`: what Helm makes of the charts is what Kubernetes takes, and what is generated in them is current.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::report::Tally;
use crate::charts::{self, CHARTS, FILE_TEMPLATE};
use crate::cluster::{Judges, Testbed};
use crate::process::{output, run};
use crate::workspace::Workspace;

/// Looks at charts.
struct Bench(Judges);

/// What a good judge does not take.
const WRONG: [(&str, &str); 3] = [
    (
        "a field that does not exist",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {portz: []}\n",
    ),
    (
        "a field that no cluster has",
        "apiVersion: gfs.rs/v1alpha1\nkind: GfsCluster\nmetadata: {name: x}\nspec: {chunkSizes: 1MiB}\n",
    ),
    ("a kind that does not exist", "apiVersion: v1\nkind: Potato\nmetadata: {name: x}\n"),
];

/// Looks at every chart in every way; each look counts as one.
pub(super) fn run_all(workspace: &Workspace) -> Result<Tally> {
    let mut sum = generated(&workspace.root)?;
    let bench = Bench(Testbed::of(workspace)?.judges()?);
    let schemas = bench.0.folder.join("schemas");
    let count = charts::write_schemas(&bench.0.openapi, &workspace.root.join("crds"), &schemas)?;
    println!("{count} schemas");
    sum.add(bench.refuses_what_is_wrong()?);
    for chart in CHARTS {
        let chart = charts::folder(&workspace.root, chart);
        sum.add(bench.lint(&chart)?);
        for values in value_files(&chart)? {
            sum.add(bench.conforms(&chart, &values)?);
        }
    }
    let examples = workspace.root.join("examples/kubernetes");
    let status = run(bench.judge().arg(&examples))?;
    sum.add(Tally::of(status.success(), &format!("the manifests of {}", examples.display())));
    Ok(sum)
}

/// Tables of values, copies of definitions, and versions.
fn generated(root: &Path) -> Result<Tally> {
    let mut sum = Tally::default();
    for chart in charts::of_another_version(root)? {
        sum.add(Tally::failed(format!(
            "{chart}: `version` and `appVersion` are not the workspace's"
        )));
    }
    for file in charts::generated(root)? {
        let why = format!("{} is not current: cargo xtask fix", file.path.display());
        sum.add(Tally::of(file.is_current(), &why));
    }
    Ok(sum)
}

/// The values the chart comes with, and those of `ci/`.
fn value_files(chart: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![chart.join("values.yaml")];
    let folder = chart.join("ci");
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

impl Bench {
    fn lint(&self, chart: &Path) -> Result<Tally> {
        let status = run(Command::new(&self.0.helm).args(["lint", "--strict"]).arg(chart))?;
        Ok(Tally::of(status.success(), &format!("helm lint: {}", chart.display())))
    }

    /// What the chart makes of these values, judged.
    fn conforms(&self, chart: &Path, values: &Path) -> Result<Tally> {
        let mut template = Command::new(&self.0.helm);
        template.args(["template", "release", "--namespace", "place"]).arg(chart);
        let text = output(template.arg("--values").arg(values))?;
        let good = self.takes("rendered.yaml", &text)?;
        Ok(Tally::of(good, &format!("{} with {}", chart.display(), values.display())))
    }

    /// A judge that takes everything is none.
    fn refuses_what_is_wrong(&self) -> Result<Tally> {
        let mut sum = Tally::default();
        println!("these are to be refused:");
        for (wrong, manifest) in WRONG {
            let taken = self.takes("wrong.yaml", manifest)?;
            sum.add(Tally::of(!taken, &format!("kubeconform takes {wrong}")));
        }
        Ok(sum)
    }

    fn takes(&self, name: &str, manifests: &str) -> Result<bool> {
        let path = self.0.folder.join(name);
        fs::write(&path, manifests)?;
        Ok(run(self.judge().arg(path))?.success())
    }

    fn judge(&self) -> Command {
        let location = format!("{}/{FILE_TEMPLATE}", self.0.folder.join("schemas").display());
        let mut judge = Command::new(&self.0.kubeconform);
        judge.args(["-strict", "-summary", "-schema-location", &location]);
        judge
    }
}
