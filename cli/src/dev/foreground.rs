//! `gfs dev` itself: brings the cluster up, watches it, ends it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::DevArgs;
use super::children::{self, Children, Ended, describe};
use super::config;
use super::layout::Layout;
use super::plan::{Plan, Wishes};
use super::role::Role;
use super::tables::{self, Lock};
use super::user_command::UserCommand;
use super::{process, ready};
use crate::failure::{Context, Failure, Result};
use crate::output::note;

/// Where the master of a new cluster listens.
const LISTEN_DEFAULT: &str = "127.0.0.1:7400";
/// Chunkservers end first, then the master; together well below the 10 s that are promised.
const CHUNKSERVERS_END_TIME: Duration = Duration::from_secs(4);
const MASTER_END_TIME: Duration = Duration::from_secs(2);
const KILLED_END_TIME: Duration = Duration::from_secs(1);
/// How often to look whether a role is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Brings a cluster up, runs it until a signal or the end of COMMAND, and ends it.
pub(super) async fn run(args: DevArgs) -> Result<u8> {
    let mut signals = Signals::install()?;
    let home = Home::of(args.dir.clone())?;
    let (layout, plan, _lock) = match prepare(&home, &args) {
        Ok(prepared) => prepared,
        Err(failure) => {
            home.leave()?;
            return Err(failure);
        }
    };
    let mut cluster = Foreground { layout, plan, children: Children::default(), all_well: true };
    let outcome = cluster.live(&args, &mut signals).await;
    let ended = cluster.end(&mut signals).await;
    let all_well = outcome.is_ok() && cluster.all_well;
    if all_well || !cluster.children.any() {
        home.leave()?;
    } else {
        home.keep();
    }
    ended.and(outcome)
}

/// Everything that is checked before the first process starts.
fn prepare(home: &Home, args: &DevArgs) -> Result<(Layout, Plan, Lock)> {
    let layout = Layout::create(&home.dir)?;
    refuse_living(&layout)?;
    let Some(lock) = Lock::attempt(&layout.dev_lock())? else {
        let message = "is in use by another `gfs dev`; end that one first";
        return Err(Failure::new(format!("{} {message}", layout.dir().display())));
    };
    let wishes = Wishes { chunkservers: args.chunkservers, chunk_size: args.chunk_size };
    let plan = Plan::load_or_make(&layout, wishes)?;
    Ok((layout, plan, lock))
}

/// DIR, and whether it goes when the cluster does.
struct Home {
    dir: PathBuf,
    temporary: bool,
}

impl Home {
    fn of(dir: Option<PathBuf>) -> Result<Self> {
        if let Some(dir) = dir {
            return Ok(Self { dir, temporary: false });
        }
        let mut random = [0; 6];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("cannot draw a folder's name: {error}")))?;
        let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("gfs-dev-{suffix}"));
        std::fs::create_dir(&dir).during(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir, temporary: true })
    }

    /// Removes a temporary folder.
    fn leave(&self) -> Result<()> {
        if !self.temporary {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.dir)
            .during(|| format!("cannot remove {}", self.dir.display()))
    }

    /// Something went wrong: the logs of a temporary folder are worth more than the space.
    fn keep(&self) {
        if self.temporary {
            note(format_args!("logs and data are kept in {}", self.dir.display()));
        }
    }
}

fn refuse_living(layout: &Layout) -> Result<()> {
    let living = process::all_living(layout)?;
    if living.is_empty() {
        return Ok(());
    }
    let names: Vec<_> =
        living.iter().map(|(role, pid)| format!("{role} {}", pid.as_raw_nonzero())).collect();
    Err(Failure::new(format!(
        "{} has live roles (ROLE PID): {}; end their `gfs dev`, or kill them, first",
        layout.dir().display(),
        names.join(", ")
    )))
}

/// SIGINT and SIGTERM, both meaning: end in order.
struct Signals {
    interrupt: SignalStream,
    terminate: SignalStream,
}

impl Signals {
    fn install() -> Result<Self> {
        let failed = || "cannot listen for signals";
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).during(failed)?,
            terminate: signal(SignalKind::terminate()).during(failed)?,
        })
    }

    /// The next one. Cancel safe.
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}

struct Foreground {
    layout: Layout,
    plan: Plan,
    children: Children,
    /// No role ended by itself.
    all_well: bool,
}

impl Foreground {
    async fn live(&mut self, args: &DevArgs, signals: &mut Signals) -> Result<u8> {
        let masters = tokio::select! {
            _ = signals.next() => return Ok(0),
            up = self.bring_up(args) => up?,
        };
        if args.run.is_empty() {
            self.watch(signals).await;
            return Ok(0);
        }
        let mut command = UserCommand::start(&args.run, &masters, self.layout.dir())?;
        let stop = tokio::select! {
            status = command.ended() => return Ok(status),
            stop = self.watch(signals) => stop,
        };
        Ok(command.end(stop).await)
    }

    /// Starts every role; returns what `GFS_MASTERS` is when files can be stored.
    async fn bring_up(&mut self, args: &DevArgs) -> Result<String> {
        let to_stderr = !args.run.is_empty();
        let master = self.start_master(args).await?;
        say(to_stderr, &format!("GFS_MASTERS={master}"));
        let roles: Vec<Role> = Role::all(self.plan.chunkservers).skip(1).collect();
        for role in &roles {
            self.start_chunkserver(*role, &master)?;
        }
        let client = ready::serving(&self.layout, &self.plan, &master, &mut self.children).await?;
        if !self.plan.formatted {
            self.plan.formatted = true;
            self.plan.save(&self.layout)?;
        }
        for role in roles {
            ready::listening(&self.layout, role, &mut self.children).await?;
        }
        ready::storing(&self.layout, &self.plan, &client, &mut self.children).await?;
        client.close().await;
        say(to_stderr, "ready");
        Ok(master)
    }

    async fn start_master(&mut self, args: &DevArgs) -> Result<String> {
        let known = tables::read(&self.layout.addresses())?.remove(&Role::Master);
        let may_move = !args.run.is_empty();
        let listen = master_address(args.listen.as_deref(), known.as_deref(), may_move)?;
        config::write_master(&self.layout, &self.plan, &listen)?;
        self.children.start(&self.layout, Role::Master, true)?;
        let listening = ready::listening(&self.layout, Role::Master, &mut self.children);
        Ok(listening.await?.data)
    }

    fn start_chunkserver(&mut self, role: Role, master: &str) -> Result<()> {
        let known = tables::read(&self.layout.addresses())?.remove(&role);
        let listen = config::free_or_any(known.as_deref().unwrap_or(config::ANY_PORT));
        config::write_chunkserver(&self.layout, &self.plan, role, &listen, master)?;
        self.children.start(&self.layout, role, true)
    }

    /// Tells of roles that end, until a signal comes.
    async fn watch(&mut self, signals: &mut Signals) -> Signal {
        loop {
            tokio::select! {
                ended = self.children.ended() => self.report(ended),
                signal = signals.next() => return signal,
            }
        }
    }

    fn report(&mut self, (role, status): Ended) {
        self.all_well = false;
        let log = self.layout.log(role);
        note(format_args!(
            "{role} ended: {}; its log is {}; start it again with `gfs dev start {role} --dir {}`",
            describe(&status),
            log.display(),
            self.layout.dir().display()
        ));
        if let Err(failure) = children::forget(&self.layout, role) {
            note(failure);
        }
    }

    /// Ends all roles, those of `gfs dev start` too. A second signal makes it quick.
    async fn end(&mut self, signals: &mut Signals) -> Result<()> {
        let impatient = tokio::select! {
            ended = self.end_in_order() => { ended?; false }
            _ = signals.next() => true,
        };
        if impatient || !process::all_living(&self.layout)?.is_empty() {
            self.signal_all(Signal::KILL, |_| true)?;
            self.until_gone(KILLED_END_TIME, |_| true).await?;
        }
        let _lock = Lock::wait(&self.layout.tables_lock())?;
        let mut pids = tables::read(&self.layout.pids())?;
        let living = process::all_living(&self.layout)?;
        pids.retain(|role, _| living.iter().any(|(other, _)| other == role));
        tables::write(&self.layout.pids(), &pids)
    }

    async fn end_in_order(&self) -> Result<()> {
        let is_chunkserver = |role: Role| role != Role::Master;
        self.signal_all(Signal::TERM, is_chunkserver)?;
        self.until_gone(CHUNKSERVERS_END_TIME, is_chunkserver).await?;
        self.signal_all(Signal::TERM, |_| true)?;
        self.until_gone(MASTER_END_TIME, |_| true).await
    }

    fn signal_all(&self, with: Signal, which: impl Fn(Role) -> bool) -> Result<()> {
        let living = process::all_living(&self.layout)?;
        living.into_iter().filter(|(role, _)| which(*role)).try_for_each(|(role, pid)| {
            if with == Signal::KILL {
                note(format_args!("{role} does not end: it is killed"));
            }
            process::signal(pid, with)
        })
    }

    async fn until_gone(&self, time: Duration, which: impl Fn(Role) -> bool) -> Result<()> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if !process::all_living(&self.layout)?.iter().any(|(role, _)| which(*role)) {
                return Ok(());
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Where the master shall listen. What was asked for is taken or refused; what was there before is kept if it can
/// be; `may_move` when nobody but our own COMMAND needs to know.
fn master_address(asked: Option<&str>, known: Option<&str>, may_move: bool) -> Result<String> {
    let asked_for_any = asked.is_some_and(|address| address.ends_with(":0"));
    let (wanted, may_move) = match (asked, known) {
        (Some(_), Some(known)) if asked_for_any => (known, true),
        (Some(asked), _) => (asked, false),
        (None, Some(known)) => (known, may_move),
        (None, None) => (LISTEN_DEFAULT, may_move),
    };
    if may_move {
        return Ok(config::free_or_any(wanted));
    }
    if config::is_free(wanted) {
        return Ok(wanted.to_owned());
    }
    Err(Failure::new(format!(
        "cannot listen at {wanted}: it is in use or not of this machine; end what listens there, or take a free \
         port with --listen 127.0.0.1:0"
    )))
}

/// A line for scripts. A reader that left does not end the cluster.
fn say(to_stderr: bool, line: &str) {
    let text = format!("{line}\n");
    let _ = if to_stderr {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        std::io::stdout().write_all(text.as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_master_listens_where_it_was_told_or_where_it_was() {
        let taken = TcpListener::bind(config::ANY_PORT).unwrap();
        let in_use = taken.local_addr().unwrap().to_string();
        let free = {
            let listener = TcpListener::bind(config::ANY_PORT).unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let address = |asked, known, may_move| master_address(asked, known, may_move);
        assert_eq!(address(Some(&*free), Some(&*in_use), false), Ok(free.clone()));
        assert_eq!(address(None, Some(&*free), false), Ok(free.clone()));
        assert_eq!(address(Some("127.0.0.1:0"), Some(&*free), false), Ok(free.clone()));
        let any = Ok(config::ANY_PORT.to_owned());
        assert_eq!(address(Some("127.0.0.1:0"), Some(&*in_use), false), any);
        assert_eq!(address(None, Some(&*in_use), true), any);
        assert!(address(Some(&*in_use), None, true).is_err());
        assert!(address(None, Some(&*in_use), false).unwrap_err().message.contains("--listen"));
    }
}
