//! `gfs dev` itself: brings the cluster up, watches it, ends it.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::DevArgs;
use super::address::master_address;
use super::children::{self, Children, Ended, describe};
use super::config;
use super::home::Home;
use super::layout::Layout;
use super::plan::{Plan, Wishes};
use super::role::Role;
use super::signals::Signals;
use super::tables::{self, Lock};
use super::user_command::UserCommand;
use super::{process, ready};
use crate::failure::{Failure, Result};
use crate::output::note;

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

struct Foreground {
    layout: Layout,
    plan: Plan,
    children: Children,
    /// No role ended by itself: its log would say why.
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
        self.all_well &= was_killed(&status);
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

/// Somebody ended the role: with `gfs dev kill`, say.
fn was_killed(status: &io::Result<ExitStatus>) -> bool {
    let by = status.as_ref().ok().and_then(ExitStatusExt::signal);
    by.is_some_and(|by| [Signal::KILL.as_raw(), Signal::TERM.as_raw()].contains(&by))
}

/// A line for scripts. A reader that left does not end the cluster.
fn say(to_stderr: bool, line: &str) {
    let text = format!("{line}\n");
    let _ = if to_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_role_that_ended_by_itself_has_a_story_to_tell() {
        for (raw, killed) in [(9, true), (15, true), (0, false), (1 << 8, false), (6, false)] {
            assert_eq!(was_killed(&Ok(ExitStatus::from_raw(raw))), killed, "{raw}");
        }
        assert!(!was_killed(&Err(io::ErrorKind::Other.into())));
    }
}
