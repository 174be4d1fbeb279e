//! Subprocesses: started in the workspace, waited for, and reported by exit status.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// A cargo command in `directory`, by the same cargo that runs this program.
pub(crate) fn cargo(directory: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    command
}

/// Runs to the end with the output of this process.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    announce(command);
    command.status().with_context(|| format!("cannot start {}", name(command)))
}

/// Runs to the end, passing each line of standard output on to ours and to `on_line`.
pub(crate) fn run_watched(
    command: &mut Command,
    mut on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", name(command)))?;
    let stdout = child.stdout.take().context("the child has no standard output")?;
    let copied = copy_lines(BufReader::new(stdout), std::io::stdout(), &mut on_line);
    let status = child.wait().with_context(|| format!("cannot wait for {}", name(command)))?;
    copied.map(|()| status)
}

/// Runs to the end and returns standard output; an exit status other than 0 is an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", name(command)))?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed ({}): {}",
        shown(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{}: not UTF-8", name(command)))
}

/// Whether a command can be started and says 0; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn copy_lines(
    mut from: impl BufRead,
    mut to: impl Write,
    on_line: &mut impl FnMut(&str),
) -> Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        on_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

fn announce(command: &Command) {
    println!("$ {}", shown(command));
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name(command)).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_on_whole_even_when_they_are_not_text() {
        let mut seen = Vec::new();
        let mut copy = Vec::new();
        let text = b"one\n\xfftwo\nthree";
        copy_lines(&text[..], &mut copy, &mut |line: &str| seen.push(line.to_owned()))
            .expect("memory to memory");
        assert_eq!(copy, text);
        assert_eq!(seen, ["one", "\u{fffd}two", "three"]);
    }

    #[test]
    fn a_failed_command_is_an_error_that_names_it() {
        let error = output(Command::new("cargo").arg("no-such-command")).expect_err("must fail");
        assert!(error.to_string().starts_with("cargo no-such-command failed"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_does_not_succeed() {
        assert!(!succeeds(&mut Command::new("gfs-no-such-program")));
    }
}
