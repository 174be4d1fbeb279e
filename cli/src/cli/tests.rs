use super::*;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

/// Every command below `command`, with its full name.
fn all(command: &clap::Command, name: &str, found: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let name = format!("{name} {}", sub.get_name());
        all(sub, &name, found);
        found.push((name, sub.clone()));
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let mut commands = vec![("gfs".to_owned(), Cli::command())];
    all(&Cli::command(), "gfs", &mut commands);
    assert!(commands.len() > 25, "{}", commands.len());
    for (name, mut command) in commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.contains('`'), "{name}: {about:?}");
        let help = command.render_long_help().to_string();
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        assert!(examples.contains("gfs "), "{name} has no example");
    }
}

#[test]
fn examples_parse() {
    let mut commands = Vec::new();
    all(&Cli::command(), "gfs", &mut commands);
    for (name, mut command) in commands {
        let help = command.render_long_help().to_string();
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        for line in examples.lines().filter(|line| line.starts_with("  gfs ")) {
            let end = line.find([';', '|', '>', '<']).unwrap_or(line.len());
            let line = line[..end].split("      ").next().unwrap_or_default();
            let words = shell_words::split(line).expect(&name);
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{line:?} in the help of {name}: {:?}", parsed.err());
        }
    }
}

#[test]
fn names_with_dashes_follow_two_dashes() {
    let parsed = Cli::try_parse_from(["gfs", "put", "--", "-rf", "--help", "/x"]);
    assert!(matches!(parsed.map(|cli| cli.command), Ok(Command::Put(_))));
    for line in ["gfs", "gfs frob", "gfs put", "gfs put a", "gfs ls --frob /", "gfs mv /a"] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_cluster_is_named_before_or_after_the_command() {
    for line in ["gfs --masters a:1 ls /", "gfs ls --masters a:1 / --timeout 2s"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
    assert!(Cli::try_parse_from(["gfs", "ls", "--timeout", "soon"]).is_err());
}

#[test]
fn completions_know_the_commands() {
    let mut text = Vec::new();
    clap_complete::generate(Shell::Bash, &mut Cli::command(), "gfs", &mut text);
    let text = String::from_utf8(text).expect("completions are text");
    assert!(text.contains("undelete") && text.contains("--length-prefixed"));
}
