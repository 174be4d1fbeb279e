//! FULL-1 on the master's own disk: what is refused, what goes on, and that it all comes back; and chunkservers without space.

use gfs_types::ErrorKind::Busy;
use gfs_types::ids::FileId;
use gfs_types::limits;
use gfs_types::message::client::{Mutation, Query, Request, Response};
use gfs_types::message::control::{FromChunkserver, Space};
use gfs_types::{Error, ErrorKind};

use super::world::{World, create, lease, reply};
use crate::{Input, Room};

const FOUND: &str = "/data has 5 bytes free";

fn refused(result: Result<Response, Error>) {
    let error = result.expect_err("there is no room");
    assert_eq!(error.kind, Busy, "{error}");
    assert!(error.message.contains(FOUND) && error.message.contains("free space"), "{error}");
    assert!(error.retry_after_ms > 0);
}

fn lease_refused(world: &mut World, file: FileId) {
    let (request, out) = world.ask_lease(file, None);
    refused(reply(&out, request).expect("it is answered at once"));
}

fn purge(path: &str) -> Mutation {
    Mutation::Delete { path: path.to_owned(), recursive: false, purge: true }
}

#[test]
fn full_1_on_a_nearly_full_disk_nothing_is_added_and_all_else_goes_on() {
    let (mut world, chunked, _) = World::with_chunk();
    let empty = world.file("/empty");
    world.file("/old");
    world.step(Input::Room(Room::Short(FOUND.to_owned())));
    let log = world.log.len();
    refused(world.create("/new"));
    refused(world.mutate(Mutation::Mkdir { path: "/d".to_owned(), parents: true }));
    lease_refused(&mut world, empty);
    assert_eq!(world.log.len(), log, "nothing is logged");
    assert_eq!(world.create("/old").map_err(|e| e.kind), Err(ErrorKind::AlreadyExists));
    world.delete("/old", false).unwrap();
    world.undelete("/old").unwrap();
    world.rename("/old", "/older", false).unwrap();
    world.mutate(purge("/older")).unwrap();
    let attributes = None;
    world.mutate(Mutation::SetLength { file: empty, length: 7, attributes }).unwrap();
    assert_eq!(world.stat("/empty").unwrap().length, 7);
    world.open();
    let (request, out) = world.ask_lease(chunked, None);
    lease(&out, request).expect("a chunk that is there is written");
    world.check_digests();
    world.step(Input::Room(Room::Enough));
    world.create("/new").unwrap();
    world.mkdir("/d");
    let (request, out) = world.ask_lease(empty, None);
    assert_eq!(reply(&out, request), None, "its chunk is being born");
}

#[test]
fn full_1_when_the_log_cannot_grow_nothing_is_logged_that_can_wait() {
    let (mut world, chunked, _) = World::with_chunk();
    world.file("/kept");
    world.delete("/kept", false).unwrap();
    let done = world.mutate(create("/done"));
    let done_seq = world.seq;
    world.step(Input::Room(Room::Nothing(FOUND.to_owned())));
    let log = world.log.len();
    refused(world.create("/new"));
    refused(world.delete("/done", false));
    refused(world.undelete("/kept"));
    refused(world.rename("/done", "/other", false));
    refused(world.ask(Request::OpenSession));
    let (request, out) = world.ask_lease(chunked, None);
    lease(&out, request).expect("a lease that is out is told");
    assert_eq!(world.mutate_as(done_seq, done_seq, create("/done")), done, "remembered");
    assert_eq!(world.stat("/done").map(|entry| entry.path), Ok("/done".to_owned()));
    world.query(Query::Status).unwrap();
    // The grace is over, sessions are idle, the lease ended: all of it waits.
    world.after_ms(limits::TRASH_GRACE_MS.0 + limits::SESSION_IDLE_MS.0);
    lease_refused(&mut world, chunked);
    assert_eq!(world.log.len(), log, "nothing is logged");
    world.step(Input::Room(Room::Enough));
    world.after_ms(1_000);
    assert!(world.log.len() > log, "it is made up for");
    world.check_digests();
}

/// At the limit a chunkserver takes a chunk; one byte below it does not, and whoever waits is told which one that is.
#[test]
fn full_1_a_chunk_finds_its_servers_or_is_told_which_have_no_space() {
    for (short_of, good) in [(0, true), (1, false)] {
        let mut world = World::new();
        for uid in 1..=3 {
            world.join(uid, 1, &[]);
            let (seq, changed, extend) = (1, Vec::new(), Vec::new());
            let free_bytes = limits::CHUNK_BYTES_MIN - if uid == 1 { 0 } else { short_of };
            let space = Space { capacity_bytes: 1 << 30, free_bytes };
            world.tell(uid, FromChunkserver::Heartbeat { seq, space, changed, extend });
        }
        // Not while more chunkservers may come.
        world.after_ms(limits::MEMBER_WAIT_MS.0 - 1_000);
        for uid in 1..=3 {
            let (seq, changed, extend) = (2, Vec::new(), Vec::new());
            let free_bytes = limits::CHUNK_BYTES_MIN - if uid == 1 { 0 } else { short_of };
            let space = Space { capacity_bytes: 1 << 30, free_bytes };
            world.tell(uid, FromChunkserver::Heartbeat { seq, space, changed, extend });
        }
        world.after_ms(1_000);
        let file = world.file("/f");
        let (request, out) = world.ask_lease(file, None);
        let Some(answer) = reply(&out, request) else {
            assert!(good, "a chunk is being made where there is no space");
            continue;
        };
        let error = answer.expect_err("one server has space, two are needed");
        assert!(!good && error.kind == Busy, "{error}");
        let servers = &world.master.soft.registry;
        for (_, server) in servers.iter().filter(|(_, server)| server.uid.0 != 1) {
            let name = format!("{} at {}", server.uid, server.address);
            assert!(error.message.contains(&name), "{name}: {error}");
        }
    }
}
