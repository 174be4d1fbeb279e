use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ClusterUid, FileId, ServerUid};
use gfs_types::message::client::Attributes;
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::WallTime;
use proptest::prelude::*;

use super::*;
use crate::invariants::check_durable;
use crate::record::{Change, Record};

fn apply(durable: &mut Durable, change: Change) {
    let record = Record { wall: WallTime { ms: 5 }, request: None, change };
    durable.apply(durable.position().next(), MasterEpoch(1), &record).unwrap();
}

fn formatted() -> Durable {
    let mut durable = Durable::blank();
    let (cluster, chunk_size) = (ClusterUid(7), ChunkSize::default());
    apply(&mut durable, Change::Formatted { cluster, chunk_size });
    durable
}

fn create(durable: &mut Durable, name: String) -> FileId {
    let file = durable.tree.next_ids(1).unwrap()[0];
    let (parent, attributes) = (FileId(1), Attributes::default());
    apply(durable, Change::Created { file, parent, name, replication: 3, attributes });
    file
}

fn allocate(durable: &mut Durable, file: FileId, index: u64) -> ChunkHandle {
    let handle = durable.chunks.next();
    let members = vec![ServerUid(1), ServerUid(2)];
    let index = ChunkIndex(index);
    apply(durable, Change::ChunkAllocated { file, index, handle, members });
    handle
}

/// Some of everything: chunks born and unborn, raises begun and ended, holes, trash, freed places.
fn sample() -> Durable {
    let mut durable = formatted();
    let (a, b) = (create(&mut durable, "a".to_owned()), create(&mut durable, "b".to_owned()));
    let chunk = allocate(&mut durable, a, 0);
    allocate(&mut durable, a, 9);
    apply(&mut durable, Change::ChunkBorn { handle: chunk });
    let number = gfs_types::fence::ChunkVersion(2);
    apply(&mut durable, Change::RaiseStarted { handle: chunk, number });
    apply(&mut durable, Change::Raised { handle: chunk, version: number, members: 2 });
    apply(&mut durable, Change::RaiseStarted { handle: chunk, number: number.next() });
    apply(&mut durable, Change::Deleted { entry: b, path: "/b".to_owned(), purge: false });
    let c = create(&mut durable, "c".to_owned());
    apply(&mut durable, Change::Deleted { entry: c, path: "/c".to_owned(), purge: true });
    apply(&mut durable, Change::Purged { entries: vec![c] });
    apply(&mut durable, Change::SessionOpened { session: gfs_types::ids::SessionId(3) });
    check_durable(&durable).unwrap();
    durable
}

fn load(sections: &[Vec<u8>]) -> Result<Durable, ImageError> {
    let mut loader = Loader::new();
    for section in sections {
        loader.section(section)?;
    }
    let durable = loader.finish()?;
    check_durable(&durable).expect("what loads keeps the invariants");
    Ok(durable)
}

fn all(durable: &Durable) -> Vec<Vec<u8>> {
    sections(durable).collect()
}

#[test]
fn what_is_written_is_loaded() {
    for durable in [Durable::blank(), formatted(), sample()] {
        let loaded = load(&all(&durable)).unwrap();
        assert_eq!(loaded.digest(), durable.digest());
        assert_eq!(all(&loaded), all(&durable));
        assert_eq!(loaded.position(), durable.position());
        assert_eq!(loaded.epoch(), durable.epoch());
    }
}

/// Other bytes are another format: give it another version.
#[test]
fn the_bytes_are_frozen() {
    let blank: Vec<u8> = all(&Durable::blank()).concat();
    assert_eq!(blank[..9], [HEAD, 2, 0, 0, 0, 0, 0, 0, ITEMS]);
    assert_eq!(sample().digest(), 0xae5c_e84c_07e4_ad68);
}

#[test]
fn a_large_state_has_many_bounded_sections() {
    let mut durable = formatted();
    for n in 0..4_000 {
        create(&mut durable, format!("{n}{}", "x".repeat(200)));
    }
    let file = create(&mut durable, "chunks".to_owned());
    for index in 0..5_000 {
        allocate(&mut durable, file, index);
    }
    let sections = all(&durable);
    assert!(sections.len() > 5, "{}", sections.len());
    assert!(sections.iter().all(|section| section.len() < SECTION_BYTES_FULL + (64 << 10)));
    assert_eq!(load(&sections).unwrap().digest(), durable.digest());
}

/// In which blocks names stand in memory depends on how they came there; the bytes do not.
#[test]
fn equal_states_have_equal_bytes_whatever_their_history() {
    let straight = {
        let mut durable = formatted();
        for n in 0..500 {
            create(&mut durable, format!("{n:03}"));
        }
        durable
    };
    let mut bent = formatted();
    let files: Vec<_> =
        (0..500).map(|n| create(&mut bent, format!("x{}", n * 7919 % 500))).collect();
    for n in (0..500).map(|n| n * 7 % 500) {
        let (entry, name) = (files[n], format!("{n:03}"));
        apply(&mut bent, Change::Renamed { entry, parent: FileId(1), name, replaced: None });
    }
    bent.position = straight.position;
    assert_eq!(all(&bent), all(&straight));
}

#[test]
fn the_rare_is_kept() {
    let mut durable = formatted();
    for _ in 0..300 {
        let file = create(&mut durable, "again".to_owned());
        apply(
            &mut durable,
            Change::Deleted { entry: file, path: "/again".to_owned(), purge: true },
        );
        apply(&mut durable, Change::Purged { entries: vec![file] });
    }
    let file = create(&mut durable, "last".to_owned());
    assert_eq!(file.0 >> 32, 300);
    allocate(&mut durable, file, 0);
    let modified = WallTime { ms: u64::MAX };
    let attributes = Some(Attributes { modified, executable: true });
    apply(&mut durable, Change::LengthSet { file, length: u64::MAX, attributes });
    for n in 0..2_000 {
        create(&mut durable, format!("{n}"));
    }
    let loaded = load(&all(&durable)).unwrap();
    assert_eq!(all(&loaded), all(&durable));
    let file = loaded.tree.get(file).and_then(crate::namespace::Node::file).unwrap();
    assert_eq!((file.length, file.attributes.modified, file.replication), (u64::MAX, modified, 3));
    assert_eq!(file.chunks.handles().count(), 1);
}

#[test]
fn the_digest_sees_every_difference() {
    let base = sample();
    let mut seen = std::collections::BTreeSet::from([base.digest()]);
    let mut differs = |durable: &Durable| assert!(seen.insert(durable.digest()));
    let mut other = base.clone();
    other.position = LogPosition(999);
    differs(&other);
    let mut other = base.clone();
    create(&mut other, "d".to_owned());
    differs(&other);
    let mut other = base.clone();
    apply(&mut other, Change::SessionClosed { session: gfs_types::ids::SessionId(3) });
    differs(&other);
}

#[test]
fn missing_repeated_and_swapped_sections_are_seen() {
    let mut durable = formatted();
    for n in 0..4_000 {
        create(&mut durable, format!("{n}{}", "x".repeat(200)));
    }
    let good = all(&durable);
    assert!(good.len() >= 5);
    for at in 0..good.len() {
        let mut missing = good.clone();
        missing.remove(at);
        assert!(load(&missing).is_err(), "without section {at}");
        let mut twice = good.clone();
        twice.insert(at, good[at].clone());
        assert!(load(&twice).is_err(), "section {at} twice");
    }
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    assert!(load(&swapped).is_err());
    assert!(load(&[]).is_err());
    let mut long = good;
    long[1].resize(SECTION_BYTES_MAX + 1, 0);
    assert!(load(&long).is_err());
}

/// It is whole, so nobody must take it for damage.
#[test]
fn an_image_of_another_version_says_so() {
    for other in [VERSION - 1, VERSION + 1] {
        let mut sections = all(&sample());
        sections[0][1] = other;
        let said = load(&sections).unwrap_err().to_string();
        assert!(said.contains(&format!("format version {other}")), "{said}");
        assert!(
            said.contains(&format!("knows {VERSION}: use the program that wrote it")),
            "{said}"
        );
    }
}

proptest! {
    #[test]
    fn flipped_bits_are_seen(section in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut sections = all(&sample());
        let section = section.index(sections.len());
        let at = at.index(sections[section].len());
        sections[section][at] ^= 1_u8 << bit;
        prop_assert!(load(&sections).is_err());
    }

    #[test]
    fn any_items_load_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), keep in any::<bool>()) {
        // The checksum made right, so that what is behind it is tried.
        let good = all(&sample());
        let mut items = if keep { good[1].clone() } else { vec![ITEMS] };
        items.extend(bytes);
        let mut sum = new_sum();
        sum.update(&good[0]);
        sum.update(&items);
        let mut end = vec![END];
        end.extend(sum.finalize().to_le_bytes());
        let _ = load(&[good[0].clone(), items, end]);
    }

    #[test]
    fn changed_items_load_or_are_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut good = all(&sample());
        let at = at.index(good[1].len());
        good[1][at] = to;
        let mut sum = new_sum();
        sum.update(&good[0]);
        sum.update(&good[1]);
        good[2][1..].copy_from_slice(&sum.finalize().to_le_bytes());
        let _ = load(&good);
    }
}
