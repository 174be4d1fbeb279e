//! What a chunkserver's process does when something came to it: its shard works, and what leaves it is carried on.

use bytes::Bytes;
use gfs_chunkserver::data_plane::{Ask, Course, Next};
use gfs_chunkserver::driver::{CopyWork, Request};
use gfs_chunkserver::store::Part;
use gfs_chunkserver_core::{Copied, Input, Job};
use gfs_protocol::frame::offset_of;
use gfs_types::Error;
use gfs_types::ids::ChunkHandle;

use crate::calls::Ending;
use crate::net::Who;
use crate::server::{Leaving, Process};
use crate::world::{Event, World};

/// Durable operations that share their syncs: with more, the store would take threads.
const TOGETHER_MAX: u64 = 7;

impl World {
    /// The process of this run, if it is still there; its clock shows the time.
    pub(crate) fn process(&mut self, server: usize, run: u32) -> Option<&mut Process> {
        let server = &mut self.servers[server];
        server.clock.move_to(self.now);
        if server.run == run { server.up.as_mut() } else { None }
    }

    /// Works until nothing is left to do at this moment.
    pub(crate) fn serve(&mut self, number: usize) -> anyhow::Result<()> {
        loop {
            let run = self.servers[number].run;
            let Some(process) = self.process(number, run) else { return Ok(()) };
            let due = process.driver.work();
            let leaving = std::mem::take(&mut *process.out.lock());
            let disk = process.driver.waiting() > 0 && !process.disk_busy;
            process.disk_busy |= disk;
            if disk {
                let at = self.now + self.sync_takes(Who::Server(number));
                self.agenda.enter(at, Event::ServerDisk(number, run));
            }
            if let Some(at) = due.map(|due| self.servers[number].clock.when(due).max(self.now))
                && let Some(process) = self.process(number, run)
                && process.wakes.is_none_or(|wakes| wakes > at)
            {
                process.wakes = Some(at);
                self.agenda.enter(at, Event::ServerWork(number, run));
            }
            if !self.carry_on(number, run, leaving)? {
                return Ok(());
            }
        }
    }

    /// Whether anything came back to the shard at once.
    fn carry_on(&mut self, number: usize, run: u32, leaving: Leaving) -> anyhow::Result<bool> {
        let Leaving { answers, orders, copies, stopped, pieces, to_master } = leaving;
        let came_back = !(copies.is_empty() && pieces.is_empty());
        for order in orders {
            self.primary_says(number, order)?;
        }
        for (id, answer) in answers {
            self.answer(id, answer);
        }
        for name in stopped {
            if let Some(process) = self.process(number, run) {
                process.copies.remove(&name);
            }
        }
        for work in copies {
            self.copy_begins(number, run, work)?;
        }
        for (name, result) in pieces {
            match result {
                Ok(()) => self.copy_goes_on(number, run, name)?,
                Err(error) => self.copy_done(number, run, name, Err(error)),
            }
        }
        if !to_master.is_empty() {
            self.tell_master(number, to_master)?;
        }
        Ok(came_back)
    }

    pub(crate) fn server_wakes(&mut self, number: usize, run: u32) -> anyhow::Result<()> {
        let now = self.now;
        let Some(process) = self.process(number, run) else { return Ok(()) };
        if process.wakes.is_some_and(|wakes| wakes <= now) {
            process.wakes = None;
        }
        self.serve(number)
    }

    /// The disk has done some of what waited for it.
    pub(crate) fn disk_done(&mut self, number: usize, run: u32) -> anyhow::Result<()> {
        let together = usize::try_from(self.disks.between(1, TOGETHER_MAX)).unwrap_or(1);
        let Some(process) = self.process(number, run) else { return Ok(()) };
        process.disk_busy = false;
        process.driver.flush(together);
        self.serve(number)
    }

    fn copy_begins(&mut self, number: usize, run: u32, work: CopyWork) -> anyhow::Result<()> {
        let name = (work.target.handle, work.job);
        let Some(process) = self.process(number, run) else { return Ok(()) };
        process.copies.insert(name, Course::new(work));
        self.copy_goes_on(number, run, name)
    }

    fn copy_goes_on(
        &mut self,
        number: usize,
        run: u32,
        name: (ChunkHandle, Job),
    ) -> anyhow::Result<()> {
        let Some(process) = self.process(number, run) else { return Ok(()) };
        let Some(course) = process.copies.get(&name) else { return Ok(()) };
        match course.next() {
            Next::Ask(request) => {
                let (source, target) = (course.work().from, course.work().target);
                let ask = Ask { target, request, payload: Bytes::new(), checksums: Vec::new() };
                self.copy_asks(number, name, source, ask);
            }
            Next::Done(copied) => self.copy_done(number, run, name, Ok(copied)),
        }
        Ok(())
    }

    fn copy_done(
        &mut self,
        number: usize,
        run: u32,
        (handle, job): (ChunkHandle, Job),
        result: Result<Copied, Error>,
    ) {
        self.note(format_args!("server-{number} copied {handle}: {}", result.is_ok()));
        let Some(process) = self.process(number, run) else { return };
        if process.copies.remove(&(handle, job)).is_some() {
            process.handle.command(handle, Input::Copied { job, result });
        }
    }

    /// The source of a copy answered.
    pub(crate) fn copy_hears(
        &mut self,
        number: usize,
        run: u32,
        name: (ChunkHandle, Job),
        ending: Ending,
    ) -> anyhow::Result<()> {
        let Some(process) = self.process(number, run) else { return Ok(()) };
        let Some(course) = process.copies.get_mut(&name) else { return Ok(()) };
        let Next::Ask(request) = course.next() else { return Ok(()) };
        let lost = |_| Error::unknown("the connection to the source was lost");
        let answered = ending.map_err(lost).and_then(|answer| {
            let answer = match answer.reply.result {
                Ok(response) => {
                    let (payload, sums) = (answer.payload, answer.checksums);
                    Ok((response, Part::new(payload, offset_of(&request), sums)?))
                }
                Err(error) => Err(error),
            };
            course.answered(&process.store, answer)
        });
        match answered {
            Ok(Some((offset, part))) => {
                let target = course.work().target;
                let out = process.out.clone();
                let request = Request::Piece { job: name.1, offset, data: part.into() };
                let reply = move |answer: gfs_chunkserver::driver::Answer| {
                    out.lock().pieces.push((name, answer.reply.result.map(drop)));
                    None
                };
                process.handle.submit(target, request, Box::new(reply));
            }
            Ok(None) => self.copy_goes_on(number, run, name)?,
            Err(error) => self.copy_done(number, run, name, Err(error)),
        }
        self.serve(number)
    }
}
