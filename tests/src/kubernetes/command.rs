//! Running `kubectl` and `helm`, and waiting for what they will show.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// Between two looks: each starts a program.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// `kubectl` with these arguments; its stdout.
///
/// # Errors
/// When it fails: with all it said.
pub fn kubectl(arguments: &[&str]) -> Result<String> {
    ok("kubectl", arguments, None)
}

/// `kubectl` with this on its stdin.
///
/// # Errors
/// When it fails: with all it said.
pub fn kubectl_fed(arguments: &[&str], stdin: &[u8]) -> Result<String> {
    ok("kubectl", arguments, Some(stdin))
}

/// `helm` with these arguments; its stdout.
///
/// # Errors
/// When it fails: with all it said.
pub fn helm(arguments: &[&str]) -> Result<String> {
    ok("helm", arguments, None)
}

/// `kubectl … --output json`.
///
/// # Errors
/// When it fails, or prints something else.
pub fn json(arguments: &[&str]) -> Result<Value> {
    let text = kubectl(&[arguments, &["--output", "json"]].concat())?;
    serde_json::from_str(&text).with_context(|| format!("what kubectl {arguments:?} printed"))
}

/// `kubectl`, which must refuse; its stderr.
///
/// # Errors
/// When it does not refuse.
pub fn refused(arguments: &[&str], stdin: &[u8]) -> Result<String> {
    let output = run("kubectl", arguments, Some(stdin))?;
    if output.status.success() {
        bail!("kubectl {arguments:?} was not refused: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Looks again and again until there is something to see.
///
/// # Errors
/// When there is nothing in time: with why there was nothing at the last look.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(seen) => return Ok(seen),
            Err(why) if begun.elapsed() >= within => {
                return Err(anyhow!("waited {within:?} for {what}: {why:#}"));
            }
            Err(_) => sleep(LOOK_AGAIN),
        }
    }
}

fn ok(program: &str, arguments: &[&str], stdin: Option<&[u8]>) -> Result<String> {
    let output = run(program, arguments, stdin)?;
    if !output.status.success() {
        bail!(
            "{program} {} ended with {}\nstdout: {}\nstderr: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("stdout of {program}"))
}

fn run(program: &str, arguments: &[&str], stdin: Option<&[u8]>) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    let pipe = child.stdin.take();
    let output = scope(|scope| {
        if let (Some(mut pipe), Some(bytes)) = (pipe, stdin) {
            // One that ends before it read all says why by its status.
            scope.spawn(move || pipe.write_all(bytes));
        }
        child.wait_with_output()
    });
    output.with_context(|| format!("waiting for {program}"))
}
