//! What time does: the trash, uploads.

use gfs_types::ErrorKind::NotFound;
use gfs_types::limits::{TRASH_GRACE_MS, UPLOAD_AGE_MS};
use gfs_types::message::client::{Attributes, Mutation};
use gfs_types::time::WallTime;

use super::world::{World, kind, records};
use crate::record::{Change, PURGED_MAX};

#[test]
fn the_grace_ends_and_not_before() {
    let mut world = World::new();
    world.file("/f");
    world.delete("/f", false).unwrap();
    world.wall_ms += TRASH_GRACE_MS.0 - 1;
    world.after_ms(0);
    assert!(world.undelete("/f").is_ok());
    world.delete("/f", false).unwrap();
    world.wall_ms += TRASH_GRACE_MS.0;
    world.after_ms(0);
    assert_eq!(kind(world.undelete("/f")), NotFound);
    assert_eq!(world.master.durable().counts().files, 0);
    world.check_digests();
}

#[test]
fn a_large_tree_is_purged_in_bounded_records() {
    let mut world = World::new();
    world.mkdir("/d/e");
    for n in 0..PURGED_MAX / 2 {
        world.file(&format!("/d/{n}"));
        world.file(&format!("/d/e/{n}"));
    }
    let purge = Mutation::Delete { path: "/d".to_owned(), recursive: true, purge: true };
    world.mutate(purge).unwrap();
    let out = world.after_ms(50);
    let sizes: Vec<_> = records(&out)
        .iter()
        .map(|change| match change {
            Change::Purged { entries } => entries.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [PURGED_MAX, 2]);
    assert_eq!(world.master.durable().counts().trash, 0);
    world.check_digests();
}

#[test]
fn uploads_without_a_name_are_collected_after_a_day() {
    let mut world = World::new();
    world.file("/.gfs/tmp/old");
    world.after_ms(5_000);
    world.file("/.gfs/tmp/new");
    world.after_ms(UPLOAD_AGE_MS.0 - 5_001);
    assert!(world.stat("/.gfs/tmp/old").is_ok());
    world.after_ms(5_000);
    assert_eq!(kind(world.stat("/.gfs/tmp/old")), NotFound);
    assert!(world.stat("/.gfs/tmp/new").is_ok());
    world.check_digests();
}

#[test]
fn the_age_of_an_upload_survives_restarts_and_is_not_that_of_its_original() {
    let mut world = World::new();
    let attributes = Attributes { modified: WallTime { ms: 1 }, executable: false };
    let path = "/.gfs/tmp/u".to_owned();
    world.mutate(Mutation::Create { path, replication: 0, attributes }).unwrap();
    assert_ne!(world.stat("/.gfs/tmp/u").unwrap().attributes.modified, attributes.modified);
    world.after_ms(UPLOAD_AGE_MS.0 / 2);
    world.restart();
    world.after_ms(5_000);
    world.after_ms(UPLOAD_AGE_MS.0 / 2 - 10_000);
    assert!(world.stat("/.gfs/tmp/u").is_ok());
    world.after_ms(10_000);
    assert_eq!(kind(world.stat("/.gfs/tmp/u")), NotFound, "a day old, over two runs of the master");
    // At its end it gets the time of its original, and then its name: it is not collected in between.
    let mut world = World::new();
    let file = world.file("/.gfs/tmp/v");
    world.after_ms(5_000);
    world.mutate(Mutation::SetLength { file, length: 0, attributes: Some(attributes) }).unwrap();
    world.after_ms(60 * 60 * 1000 - 5_000);
    assert!(world.stat("/.gfs/tmp/v").is_ok());
    world.check_digests();
}
