//! `batch`: many commands over one connection, a line each.

use std::io::{BufRead, Read};

use clap::{Args, Parser};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gfs_client::Client;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::admin::{df, locate, status};
use crate::failure::{Failure, Result};
use crate::fs::entry::Described;
use crate::fs::{get, ls, namespace, put, stat};
use crate::output::{Out, note};

/// `gfs batch`
#[derive(Debug, Args)]
#[command(after_help = "\
A line is a command without `gfs`, quoted as in a shell: mkdir, mv, rm, undelete, sync, create, stat, ls, locate, put, \
get, append, read, write, status, df. `read PATH OFFSET LENGTH`, `write PATH OFFSET TEXT` and `append PATH TEXT` move \
a few bytes of text. Empty lines and lines that begin with # are skipped. For each line one JSON object: \
{\"id\": LINE_NUMBER, \"ok\": {…}} or {\"id\": …, \"error\": {\"kind\": \"NotFound\", \"message\": \"…\"}}. It goes on after \
an error, and ends with 1 if there was one. With --jobs above 1 answers come in the order in which they are ready.

Examples:
  printf 'mkdir /a\\nstat /a\\n' | gfs batch
  gfs batch --jobs 32 < commands > answers")]
pub(crate) struct BatchArgs {
    /// Commands in flight; 1 keeps them in order
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
}

/// One line.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true, disable_help_flag = true)]
enum Line {
    Mkdir(namespace::MkdirArgs),
    Mv(namespace::MvArgs),
    Rm(namespace::RmArgs),
    Undelete(namespace::UndeleteArgs),
    Sync(namespace::SyncArgs),
    Create(namespace::CreateArgs),
    Stat(stat::StatArgs),
    Ls(ls::LsArgs),
    Locate(locate::LocateArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Append(AppendText),
    Read(ReadText),
    Write(WriteText),
    Status,
    Df,
}

/// A framed record of text.
#[derive(Debug, Args)]
struct AppendText {
    path: String,
    text: String,
}

/// A range, as text.
#[derive(Debug, Args)]
struct ReadText {
    path: String,
    offset: u64,
    length: u64,
}

/// Text at an offset.
#[derive(Debug, Args)]
struct WriteText {
    path: String,
    offset: u64,
    text: String,
}

/// Lines read ahead.
const LINES_AHEAD: usize = 64;
/// Bytes of a line: its text goes into a file in one piece.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a `read`: the answer is one line of text.
const READ_BYTES_MAX: u64 = 1 << 20;

pub(crate) async fn run(args: &BatchArgs, client: &Client) -> Result<()> {
    let mut lines = read_lines();
    let mut out = Out::stdout()?;
    let mut running = FuturesUnordered::new();
    let mut is_open = true;
    let mut errors = 0_u64;
    while is_open || !running.is_empty() {
        let may_take = is_open && running.len() < usize::from(args.jobs);
        tokio::select! {
            biased;
            Some((id, outcome)) = running.next(), if !running.is_empty() => {
                errors += u64::from(Result::is_err(&outcome));
                out.json(&answer(id, outcome))?;
                out.flush()?;
            }
            line = lines.recv(), if may_take => match line {
                Some((id, line)) => running.push(async move { (id, execute(line, client).await) }),
                None => is_open = false,
            },
        }
    }
    if errors == 0 {
        return Ok(());
    }
    note(format_args!("{errors} commands failed; their answers on stdout say why"));
    Err(Failure::reported(1))
}

/// The answer to one line.
#[derive(Debug, Serialize)]
struct Answer {
    /// The line's number, from 1.
    id: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok(Value),
    Error { kind: String, message: String },
}

fn answer(id: u64, outcome: Result<Value>) -> Answer {
    let outcome = match outcome {
        Ok(ok) => Outcome::Ok(ok),
        Err(failure) => Outcome::Error { kind: failure.kind.to_string(), message: failure.message },
    };
    Answer { id, outcome }
}

/// Lines of stdin with their numbers, from a thread that is not waited for.
fn read_lines() -> mpsc::Receiver<(u64, Result<String>)> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        for id in 1.. {
            let (line, is_last) = match next_line(&mut stdin) {
                Ok(None) => return,
                Ok(Some(line)) => (line, false),
                Err(failure) => (Err(failure), true),
            };
            let blank = line.as_ref().is_ok_and(|line| is_blank(line));
            if !blank && (sender.blocking_send((id, line)).is_err() || is_last) {
                return;
            }
        }
    });
    lines
}

/// The next line, or what is wrong with it; an error means that none comes behind it.
fn next_line(from: &mut impl BufRead) -> Result<Option<Result<String>>> {
    let mut line = Vec::new();
    let read = from.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
    let read = read.map_err(|error| Failure::new(format!("cannot read the line: {error}")))?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 > LINE_BYTES_MAX {
        return Err(Failure::new(format!(
            "the line is longer than {LINE_BYTES_MAX} bytes; nothing behind it is read"
        )));
    }
    let text = String::from_utf8(line).map_err(|_| Failure::new("the line is not UTF-8"));
    Ok(Some(text.map(|line| line.trim_end_matches(['\n', '\r']).to_owned())))
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

async fn execute(line: Result<String>, client: &Client) -> Result<Value> {
    perform(parse(&line?)?, client).await
}

fn parse(line: &str) -> Result<Line> {
    let words = shell_words::split(line)
        .map_err(|_| Failure::new("a quotation mark is missing: quote words as in a shell"))?;
    Line::try_parse_from(words).map_err(|error| {
        // The first paragraph says what is wrong; the rest is about help.
        let text = error.to_string();
        let text = text.split("\n\n").next().unwrap_or_default();
        Failure::new(text.trim_start_matches("error: ").replace('\n', " "))
    })
}

async fn perform(line: Line, client: &Client) -> Result<Value> {
    match line {
        Line::Mkdir(args) => done(namespace::mkdir(&args, client).await),
        Line::Rm(args) => done(namespace::rm(&args, client).await),
        Line::Sync(args) => done(namespace::sync(&args, client).await),
        Line::Put(args) => done(put::run(&args, client).await),
        Line::Get(args) => done(get::run_to_files(&args, client).await),
        Line::Mv(args) => to_json(&Described::new(&namespace::mv(&args, client).await?)),
        Line::Undelete(args) => {
            to_json(&Described::new(&namespace::undelete(&args, client).await?))
        }
        Line::Create(args) => to_json(&Described::new(&namespace::create(&args, client).await?)),
        Line::Stat(args) => to_json(&stat::describe(&args, client).await?),
        Line::Ls(args) => Ok(json!({ "entries": to_json(&ls::collect(&args, client).await?)? })),
        Line::Locate(args) => locate::answer(&args, client).await,
        Line::Status => status::answer(client).await,
        Line::Df => df::answer(client).await,
        Line::Append(args) => append(args, client).await,
        Line::Read(args) => read(&args, client).await,
        Line::Write(args) => write(args, client).await,
    }
}

fn done(outcome: Result<()>) -> Result<Value> {
    outcome.map(|()| json!({}))
}

fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Failure::new(error.to_string()))
}

async fn append(args: AppendText, client: &Client) -> Result<Value> {
    let file = client.open(&args.path).await?;
    let offset = file.record_writer().append(args.text).await?;
    Ok(json!({ "offset": offset }))
}

async fn read(args: &ReadText, client: &Client) -> Result<Value> {
    let file = client.open(&args.path).await?;
    let bytes = file.read_at(args.offset, args.length.min(READ_BYTES_MAX)).await?;
    Ok(json!({ "length": bytes.len(), "text": String::from_utf8_lossy(&bytes) }))
}

async fn write(args: WriteText, client: &Client) -> Result<Value> {
    let file = client.open(&args.path).await?;
    file.write_at(args.offset, args.text).await?;
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use gfs_types::ErrorKind;

    #[test]
    fn lines_are_quoted_as_in_a_shell() {
        Line::command().debug_assert();
        let path = |line: &str| match parse(line) {
            Ok(Line::Append(args)) => (args.path, args.text),
            other => panic!("{other:?}"),
        };
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(path("append '/a b' \"c d\""), both("/a b", "c d"));
        assert_eq!(path(r"append /a\ b ''"), both("/a b", ""));
        assert_eq!(path("append -- /a -b"), both("/a", "-b"));
        assert!(matches!(parse("rm -r --purge /x"), Ok(Line::Rm(_))));
        assert!(matches!(parse("  status  "), Ok(Line::Status)));
    }

    #[test]
    fn a_wrong_line_is_an_answer_like_any_other() {
        for line in ["mkdir 'x", "frobnicate /x", "mv /a", "read /a one 2", "--help", "status x"] {
            let failure = parse(line).unwrap_err();
            let answer = serde_json::to_value(answer(7, Err(failure))).unwrap();
            assert_eq!((&answer["id"], &answer["error"]["kind"]), (&7.into(), &"Invalid".into()));
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(!message.is_empty() && !message.contains('\n'), "{line}: {message:?}");
        }
        assert!(parse("frobnicate /x").unwrap_err().message.contains("frobnicate"));
    }

    #[test]
    fn an_answer_names_its_line_first() {
        let text = |outcome| serde_json::to_string(&answer(3, outcome)).unwrap();
        assert_eq!(text(done(Ok(()))), r#"{"id":3,"ok":{}}"#);
        let failure = Failure::of_kind(ErrorKind::NotFound, "no");
        let expected = r#"{"id":3,"error":{"kind":"NotFound","message":"no"}}"#;
        assert_eq!(text(Err(failure)), expected);
    }

    #[test]
    fn a_line_that_is_no_text_is_an_answer_and_one_without_end_is_the_last() {
        let limit = usize::try_from(LINE_BYTES_MAX).unwrap();
        let mut input = b"stat /a\nmkdir /\xff\nls /\r\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', limit - 1).chain([b'\n']));
        input.extend(std::iter::repeat_n(b'x', limit + 1));
        let mut from = &input[..];
        assert_eq!(next_line(&mut from), Ok(Some(Ok("stat /a".to_owned()))));
        assert!(next_line(&mut from).unwrap().unwrap().unwrap_err().message.contains("UTF-8"));
        assert_eq!(next_line(&mut from), Ok(Some(Ok("ls /".to_owned()))));
        assert_eq!(next_line(&mut from).unwrap().unwrap().unwrap().len(), limit - 1);
        assert!(next_line(&mut from).unwrap_err().message.contains("longer"));
        assert_eq!(next_line(&mut &b""[..]), Ok(None));
    }

    #[test]
    fn blank_lines_and_comments_are_no_commands() {
        assert!(["", "  ", "# x", "  #x"].into_iter().all(is_blank));
        assert!(!is_blank("ls #"));
    }
}
