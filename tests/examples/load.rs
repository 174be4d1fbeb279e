//! What the tests of Kubernetes run in pods: it is in their image beside `gfs`.
//!
//! ```text
//! gfs-load serve              a crew (gfs_tests::load) works on the cluster of GFS_MASTERS
//! gfs-load ask WORD…          asks the crew of this pod: counts, silences, resumed SECONDS, check SECONDS, resume
//! gfs-load copy DIR NUMBER    puts a file of a GiB into the cluster by `gfs`, gets it out, compares, and tells the rates
//! gfs-load wait               does nothing, until it is ended
//! ```

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gfs_tests::equal;
use gfs_tests::load::{Counts, Crew, Load};
use gfs_tests::payload;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Only in this pod.
const ADDRESS: &str = "127.0.0.1:7990";
const DIR: &str = "/crew";
const CREW: Crew = Crew { appenders: 4, namers: 2, contenders: 2, overwriters: 2, readers: 2 };
const LOOK: Duration = Duration::from_millis(50);
const COPY_BYTES: usize = 1 << 30;
const BLOCK_BYTES: usize = 1 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match words[..] {
        ["serve"] => runtime.block_on(serve()),
        ["ask", ref question @ ..] if !question.is_empty() => {
            runtime.block_on(ask(&question.join(" ")))
        }
        ["copy", dir, number] => copy(Path::new(dir), number),
        ["wait"] => loop {
            std::thread::park();
        },
        _ => bail!("gfs-load serve | ask WORD… | copy DIR NUMBER | wait"),
    }
}

async fn serve() -> Result<()> {
    let masters = std::env::var("GFS_MASTERS").context("GFS_MASTERS")?;
    let load = Arc::new(Load::start(&masters, DIR, 0, CREW).await?);
    let silences = Arc::new(Mutex::new(Silences::new(load.counts())));
    tokio::spawn(listen_to_silence(Arc::clone(&load), Arc::clone(&silences)));
    let listener = TcpListener::bind(ADDRESS).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        if let Err(error) = answer(stream, &load, &silences, &masters).await {
            eprintln!("{error:#}");
        }
    }
}

/// A question is a line, and so is its answer: `ok JSON`, or `error TEXT`.
async fn answer(
    mut stream: TcpStream,
    load: &Load,
    silences: &Mutex<Silences>,
    masters: &str,
) -> Result<()> {
    let mut question = String::new();
    tokio::io::BufReader::new(&mut stream).read_line(&mut question).await?;
    let words: Vec<&str> = question.split_whitespace().collect();
    let answer = match replied(&words, load, silences, masters).await {
        Ok(value) => format!("ok {value}\n"),
        Err(error) => format!("error {}\n", format!("{error:#}").replace('\n', "; ")),
    };
    print!("{question}{answer}");
    stream.write_all(answer.as_bytes()).await.context("answering")
}

async fn replied(
    words: &[&str],
    load: &Load,
    silences: &Mutex<Silences>,
    masters: &str,
) -> Result<Value> {
    let seconds = |text: &str| text.parse().map(Duration::from_secs).context("seconds");
    load.check_alive()?;
    match words {
        ["counts"] => Ok(told(load.counts())),
        ["silences"] => {
            let mut silences = silences.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(silences.take(load.counts()))
        }
        ["resumed", within] => {
            let took = load.resumed(Instant::now(), seconds(within)?).await?;
            Ok(json!(took.as_millis()))
        }
        ["check", within] => {
            let deadline = Instant::now() + seconds(within)?;
            load.rest().await?;
            equal::wait(masters, DIR, deadline).await?;
            load.check().await?;
            Ok(told(load.counts()))
        }
        ["resume"] => {
            load.resume();
            Ok(Value::Null)
        }
        _ => bail!("what is {words:?}?"),
    }
}

fn told(counts: Counts) -> Value {
    let Counts { appends, changes, contended, overwrites, reads, unsettled } = counts;
    json!({"appends": appends, "changes": changes, "contended": contended, "overwrites": overwrites, "reads": reads,
        "unsettled": unsettled})
}

/// The longest times in which a count did not change.
struct Silences {
    counts: Counts,
    /// Of the last appends, overwrites, changes and reads.
    last: [Instant; 4],
    longest: [Duration; 4],
}

impl Silences {
    fn new(counts: Counts) -> Self {
        Self { counts, last: [Instant::now(); 4], longest: [Duration::ZERO; 4] }
    }

    fn look(&mut self, counts: Counts) {
        let each = |counts: Counts| {
            [counts.appends, counts.overwrites, counts.changes + counts.contended, counts.reads]
        };
        let now = Instant::now();
        for (which, (new, old)) in each(counts).into_iter().zip(each(self.counts)).enumerate() {
            self.longest[which] = self.longest[which].max(now - self.last[which]);
            if new != old {
                self.last[which] = now;
            }
        }
        self.counts = counts;
    }

    /// Begins anew.
    fn take(&mut self, counts: Counts) -> Value {
        self.look(counts);
        let [appends, overwrites, changes, reads] = self.longest.map(|time| time.as_millis());
        *self = Self::new(counts);
        json!({"writes": appends.max(overwrites).max(changes), "reads": reads})
    }
}

async fn listen_to_silence(load: Arc<Load>, silences: Arc<Mutex<Silences>>) {
    loop {
        sleep(LOOK).await;
        silences.lock().unwrap_or_else(PoisonError::into_inner).look(load.counts());
    }
}

async fn ask(question: &str) -> Result<()> {
    let mut stream = TcpStream::connect(ADDRESS).await.context("no crew works in this pod yet")?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", value)) => println!("{value}"),
        Some(("error", why)) => bail!("{why}"),
        _ => bail!("the crew ended before it answered"),
    }
    Ok(())
}

/// By the commands that a person would use; both times are theirs alone.
fn copy(dir: &Path, number: &str) -> Result<()> {
    let source = dir.join("source");
    if !source.exists() {
        make(&source)?;
    }
    let (back, remote) = (dir.join("back"), format!("/copy-{number}"));
    let put = timed(Command::new("gfs").arg("put").arg(&source).arg(&remote))?;
    let get = timed(Command::new("gfs").arg("get").arg(&remote).arg(&back))?;
    ensure!(equal_files(&source, &back)?, "{} is not {}", back.display(), source.display());
    std::fs::remove_file(&back)?;
    // Ten copies of a GiB, three times each, are more disk than a test may ask for.
    let gone = Command::new("gfs").args(["rm", "--purge"]).arg(&remote).status()?;
    ensure!(gone.success(), "gfs rm --purge {remote}: {gone}");
    let mib_per_second = |time: Duration| (COPY_BYTES >> 20) as f64 / time.as_secs_f64();
    println!("{}", json!({"put": mib_per_second(put), "get": mib_per_second(get)}));
    Ok(())
}

fn make(path: &Path) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    for block in 0..COPY_BYTES / BLOCK_BYTES {
        file.write_all(&payload::record(0, block as u64, BLOCK_BYTES))?;
    }
    file.sync_all().context("syncing the source")
}

/// What was written before is on the disks: else its writing is a part of what is measured, more or less of it each time.
fn timed(command: &mut Command) -> Result<Duration> {
    rustix::fs::sync();
    let begun = Instant::now();
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(begun.elapsed())
}

fn equal_files(one: &Path, other: &Path) -> Result<bool> {
    let open = |path| anyhow::Ok(BufReader::with_capacity(BLOCK_BYTES, std::fs::File::open(path)?));
    let (mut one, mut other) = (open(one)?, open(other)?);
    let mut blocks = [vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]];
    for _ in 0..COPY_BYTES / BLOCK_BYTES {
        one.read_exact(&mut blocks[0])?;
        // A file that is too short is another.
        if other.read_exact(&mut blocks[1]).is_err() || blocks[0] != blocks[1] {
            return Ok(false);
        }
    }
    Ok(one.read(&mut blocks[0])? == 0 && other.read(&mut blocks[1])? == 0)
}
