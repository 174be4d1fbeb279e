//! What time does: the trash, uploads.

use gfs_types::ErrorKind::NotFound;
use gfs_types::limits::{TRASH_GRACE_MS, UPLOAD_AGE_MS};
use gfs_types::message::client::Mutation;

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
    world.after_ms(UPLOAD_AGE_MS.0 - 1);
    assert!(world.stat("/.gfs/tmp/old").is_ok());
    world.after_ms(5_000);
    assert_eq!(kind(world.stat("/.gfs/tmp/old")), NotFound);
    assert!(world.stat("/.gfs/tmp/new").is_ok());
    world.check_digests();
}
