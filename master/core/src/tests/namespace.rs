//! Each operation on the namespace: its record, its answer, its refusals.

use gfs_types::ErrorKind::{AlreadyExists, Denied, Invalid, NotFound};
use gfs_types::fence::LogPosition;
use gfs_types::ids::FileId;
use gfs_types::limits::{FILE_CHUNKS_MAX, LIST_PAGE_MAX, LOCATE_CHUNKS_MAX};
use gfs_types::message::client::{Attributes, EntryKind, Mutation, Query, Request, Response};
use gfs_types::region::ChunkIndex;
use gfs_types::time::WallTime;

use super::world::{World, create, kind, records, reply};
use crate::Effect;
use crate::record::Change;

fn text(s: &str) -> String {
    s.to_owned()
}

#[test]
fn create_logs_one_record_and_answers_what_it_rests_on() {
    let mut world = World::new();
    world.mkdir("/d");
    let position = world.master.position();
    world.seq += 1;
    let id = gfs_types::ids::RequestId {
        session: world.session,
        seq: gfs_types::ids::RequestSeq(world.seq),
    };
    let answered_below = id.seq;
    let (request, out) =
        world.send(Request::Mutate { id, answered_below, mutation: create("/d//a") });
    assert!(matches!(&out[0], Effect::Append { position: at, .. } if *at == position.next()));
    assert!(
        matches!(&records(&out)[..], [Change::Created { name, replication: 3, .. }] if name == "a")
    );
    assert_eq!(out[1].after(), Some(position.next()));
    let Some(Ok(Response::Entry(entry))) = reply(&out, request) else { panic!("{out:?}") };
    assert_eq!((entry.path.as_str(), entry.kind, entry.length), ("/d/a", EntryKind::File, 0));
    assert!(entry.length_is_final);
    assert_eq!(entry.attributes.modified, WallTime { ms: world.wall_ms });
    assert_eq!(world.stat("/d/a").unwrap(), entry);
}

#[test]
fn create_refuses_with_the_path_and_what_to_do() {
    let mut world = World::new();
    world.file("/f");
    assert_eq!(kind(world.create("/f")), AlreadyExists);
    let error = world.create("/x/y/z").unwrap_err();
    assert_eq!(error.kind, NotFound);
    assert!(error.message.contains("`/x`") && error.message.contains("make it first"), "{error}");
    assert_eq!(kind(world.create("/f/g")), Invalid);
    assert_eq!(kind(world.create("relative")), Invalid);
    assert_eq!(kind(world.create("/")), Denied);
    let position = world.master.position();
    let many = |replication| Mutation::Create {
        path: text("/r"),
        replication,
        attributes: Attributes::default(),
    };
    assert_eq!(kind(world.mutate(many(8))), Invalid);
    assert_eq!(world.master.position(), position, "what is refused is not logged");
    assert!(world.mutate(many(7)).is_ok());
}

#[test]
fn the_systems_directory_is_protected_but_for_uploads() {
    let mut world = World::new();
    for path in ["/.gfs", "/.gfs/tmp", "/.gfs/trash", "/.gfs/x", "/.gfs/trash/x"] {
        assert_eq!(kind(world.create(path)), Denied, "{path}");
        assert_eq!(kind(world.delete(path, true)), Denied, "{path}");
        assert_eq!(kind(world.rename(path, "/y", false)), Denied, "{path}");
    }
    world.file("/.gfs/tmp/u");
    world.file("/a");
    assert_eq!(kind(world.rename("/a", "/.gfs/b", false)), Denied);
    assert_eq!(kind(world.rename("/a", "/.gfs/trash/b", true)), Denied);
    assert_eq!(world.names("/"), ["a"], "the system's directory is not listed");
    assert!(world.rename("/.gfs/tmp/u", "/u", false).is_ok());
    assert_eq!(world.names("/"), ["a", "u"]);
}

#[test]
fn mkdir_makes_parents_in_one_record_and_is_content_with_what_is_there() {
    let mut world = World::new();
    let mkdir = |path: &str, parents| Mutation::Mkdir { path: text(path), parents };
    assert_eq!(kind(world.mutate(mkdir("/a/b/c", false))), NotFound);
    let before = world.log.len();
    assert_eq!(world.mutate(mkdir("/a/b/c", true)), Ok(Response::Done));
    assert_eq!(world.log.len(), before + 1);
    assert_eq!(world.mutate(mkdir("/a/b", true)), Ok(Response::Done));
    assert_eq!(world.mutate(mkdir("/", true)), Ok(Response::Done));
    assert_eq!(world.log.len(), before + 1, "nothing changed, nothing is logged");
    assert_eq!(kind(world.mutate(mkdir("/a/b", false))), AlreadyExists);
    world.file("/a/f");
    assert_eq!(kind(world.mutate(mkdir("/a/f", true))), AlreadyExists);
    assert_eq!(kind(world.mutate(mkdir("/a/f/g", true))), Invalid);
}

#[test]
fn a_list_comes_in_pages_in_byte_order() {
    let mut world = World::new();
    for name in ["b", "a", "ü", "B", "a b"] {
        world.file(&format!("/{name}"));
    }
    assert_eq!(world.names("/"), ["B", "a", "a b", "b", "ü"]);
    let list =
        |after: Option<&str>, limit| Query::List { path: text("/"), after: after.map(text), limit };
    let Ok(Response::Page { entries, more }) = world.query(list(Some("a"), 2)) else { panic!() };
    assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["a b", "b"]);
    assert!(more);
    let Ok(Response::Page { entries, more }) = world.query(list(Some("b"), 1)) else { panic!() };
    assert_eq!((entries.len(), more), (1, false));
    assert!(world.query(list(None, LIST_PAGE_MAX)).is_ok());
    assert_eq!(kind(world.query(list(None, LIST_PAGE_MAX + 1))), Invalid);
    assert_eq!(kind(world.query(list(None, 0))), Invalid);
    let of_file = Query::List { path: text("/a"), after: None, limit: 1 };
    assert_eq!(kind(world.query(of_file)), Invalid);
}

#[test]
fn rename_is_atomic_and_replaces_only_when_asked() {
    let mut world = World::new();
    let (a, b) = (world.file("/a"), world.file("/b"));
    world.mkdir("/d/e");
    assert_eq!(kind(world.rename("/a", "/b", false)), AlreadyExists);
    let Ok(Response::Entry(entry)) = world.rename("/a", "/b", true) else { panic!() };
    assert_eq!((entry.id, entry.path.as_str()), (a, "/b"));
    assert_eq!(kind(world.stat("/a")), NotFound);
    assert_eq!(world.stat("/b").unwrap().id, a);
    let Ok(Response::Trash { entries, .. }) = world.query(Query::Trash { after: None, limit: 9 })
    else {
        panic!()
    };
    assert_eq!((entries[0].id, entries[0].path.as_str()), (b, "/b"));
    assert_eq!(kind(world.rename("/d", "/d/e/x", false)), Invalid);
    assert_eq!(
        kind(world.rename("/d", "/d", false).and(world.rename("/x", "/y", false))),
        NotFound
    );
    assert_eq!(kind(world.rename("/b", "/d", true)), AlreadyExists, "no directory is replaced");
    assert_eq!(kind(world.rename("/d", "/b", true)), Invalid, "no directory replaces a file");
    assert!(world.rename("/d", "/dd", false).is_ok(), "not below itself, whatever the bytes");
    assert!(world.rename("/b", "/dd/e/b", false).is_ok());
    assert_eq!(world.stat("/dd/e/b").unwrap().id, a);
}

#[test]
fn delete_hides_and_undelete_brings_the_latest_back() {
    let mut world = World::new();
    let first = world.file("/f");
    assert_eq!(world.delete("/f", false), Ok(Response::Done));
    let second = world.file("/f");
    assert!(world.delete("/f", false).is_ok());
    let third = world.file("/f");
    assert_eq!(kind(world.undelete("/f")), AlreadyExists);
    assert!(world.rename("/f", "/g", false).is_ok());
    assert_eq!(world.undelete("/f").map(|_| ()), Ok(()));
    assert_eq!(world.stat("/f").unwrap().id, second);
    assert!(world.rename("/f", "/h", false).is_ok());
    assert!(world.undelete("/f").is_ok());
    assert_eq!(world.stat("/f").unwrap().id, first);
    assert_eq!(kind(world.undelete("/f")), NotFound);
    assert_eq!(world.stat("/g").unwrap().id, third);
}

#[test]
fn a_directory_goes_and_comes_as_a_whole() {
    let mut world = World::new();
    world.mkdir("/d/e");
    let file = world.file("/d/e/f");
    assert_eq!(kind(world.delete("/d", false)), Invalid);
    let before = world.log.len();
    assert!(world.delete("/d", true).is_ok());
    assert_eq!(world.log.len(), before + 1);
    assert_eq!(kind(world.stat("/d/e/f")), NotFound);
    assert_eq!(kind(world.undelete("/d/e")), NotFound, "only what was deleted comes back");
    assert!(world.undelete("/d").is_ok());
    assert_eq!(world.stat("/d/e/f").unwrap().id, file);
    world.mkdir("/p/q");
    assert!(world.delete("/p/q", false).is_ok());
    assert!(world.delete("/p", false).is_ok());
    let error = world.undelete("/p/q").unwrap_err();
    assert_eq!(error.kind, NotFound);
    assert!(error.message.contains("`/p`"), "{error}");
}

#[test]
fn ids_are_never_given_twice() {
    let mut world = World::new();
    let first = world.file("/f");
    let purge = Mutation::Delete { path: text("/f"), recursive: false, purge: true };
    assert!(world.mutate(purge).is_ok());
    assert_eq!(kind(world.undelete("/f")), NotFound, "purged is gone");
    world.after_ms(50);
    assert_eq!(world.master.durable().counts().trash, 0);
    let second = world.file("/f");
    assert_ne!(first, second);
    assert_eq!(first.0 & 0xffff_ffff, second.0 & 0xffff_ffff, "its place is used again");
    let length = Mutation::SetLength { file: first, length: 1, attributes: None };
    assert_eq!(kind(world.mutate(length)), NotFound);
    world.check_digests();
}

#[test]
fn a_length_only_grows() {
    let mut world = World::new();
    let file = world.file("/f");
    let set = |length, attributes| Mutation::SetLength { file, length, attributes };
    assert_eq!(world.mutate(set(100, None)), Ok(Response::Done));
    let before = world.log.len();
    assert_eq!(world.mutate(set(99, None)), Ok(Response::Done));
    assert_eq!(world.log.len(), before, "a shorter length changes nothing");
    let attributes = Attributes { modified: WallTime { ms: 5 }, executable: true };
    assert!(world.mutate(set(50, Some(attributes))).is_ok());
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.attributes), (100, attributes));
    let most = FILE_CHUNKS_MAX * world.master.durable().chunk_size().bytes();
    assert!(world.mutate(set(most, None)).is_ok());
    assert_eq!(kind(world.mutate(set(most + 1, None))), Invalid);
    world.mkdir("/d");
    let directory = world.stat("/d").unwrap().id;
    let length = Mutation::SetLength { file: directory, length: 1, attributes: None };
    assert_eq!(kind(world.mutate(length)), Invalid);
}

#[test]
fn no_path_gets_too_deep_or_too_long_by_a_rename() {
    let mut world = World::new();
    world.mkdir(&format!("/a{}", "/n".repeat(254)));
    world.mkdir("/b");
    assert!(world.rename("/a", "/b/a", false).is_ok(), "256 names");
    world.mkdir("/c/d");
    let error = world.rename("/b", "/c/b", false).unwrap_err();
    assert_eq!(error.kind, Invalid, "257 names");
    assert!(error.message.contains("256 names"), "{error}");
    // What the directory once held does not count.
    assert!(world.delete("/b/a", true).is_ok());
    assert!(world.rename("/b", "/c/b", false).is_ok());
    // 4096 bytes, and one more.
    let name = "x".repeat(255);
    let tail = [name.as_str(); 15].join("/");
    world.mkdir(&format!("/y/{tail}"));
    let parent = format!("/{}", "p".repeat(4096 - 3 - tail.len() - 1));
    world.mkdir(&parent);
    assert!(world.rename("/y", &format!("{parent}/yy"), false).is_err());
    assert!(world.rename("/y", &format!("{parent}/y"), false).is_ok());
    assert_eq!(
        world.stat(&format!("{parent}/y/{tail}")).map(|entry| entry.kind),
        Ok(EntryKind::Directory)
    );
    world.check_digests();
}

#[test]
fn the_deepest_tree_can_be_deleted_and_purged() {
    let mut world = World::new();
    world.mkdir(&"/n".repeat(256));
    world.file("/f");
    let purge = Mutation::Delete { path: text("/n"), recursive: true, purge: true };
    assert!(world.mutate(purge).is_ok());
    world.check_digests();
    world.after_ms(50);
    assert_eq!(world.master.durable().counts().directories, 4);
    world.check_digests();
}

#[test]
fn the_trash_is_paged_oldest_first() {
    let mut world = World::new();
    let ids: Vec<FileId> = (0..5).map(|n| world.file(&format!("/f{n}"))).collect();
    for n in [3, 1, 4, 0] {
        assert!(world.delete(&format!("/f{n}"), false).is_ok());
    }
    let page = |world: &mut World, after, limit| match world.query(Query::Trash { after, limit }) {
        Ok(Response::Trash { entries, more }) => {
            (entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), more)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(page(&mut world, None, 3), (vec![ids[3], ids[1], ids[4]], true));
    assert_eq!(page(&mut world, Some(ids[4]), 3), (vec![ids[0]], false));
    assert_eq!(kind(world.query(Query::Trash { after: Some(ids[2]), limit: 3 })), NotFound);
    assert_eq!(kind(world.query(Query::Trash { after: None, limit: 0 })), Invalid);
}

#[test]
fn locate_has_limits_and_knows_files_only() {
    let mut world = World::new();
    let file = world.file("/f");
    let locate = |file, count| Query::Locate { file, first: ChunkIndex(0), count };
    assert!(world.query(locate(file, LOCATE_CHUNKS_MAX)).is_ok());
    assert_eq!(kind(world.query(locate(file, LOCATE_CHUNKS_MAX + 1))), Invalid);
    assert_eq!(kind(world.query(locate(file, 0))), Invalid);
    assert_eq!(kind(world.query(locate(FileId(1), 1))), Invalid);
    assert_eq!(kind(world.query(locate(FileId(99), 1))), NotFound);
}

#[test]
fn reads_name_the_position_they_rest_on() {
    let mut world = World::new();
    world.file("/f");
    let position = world.master.position();
    let (_, out) = world.send(Request::Query(Query::Stat { path: text("/f") }));
    assert_eq!(out[0].after(), Some(position));
    assert!(position > LogPosition(0));
}
