//! Random sequences against the reference model, with restarts.

use gfs_durable::fs::sim::SimFs;
use gfs_types::fence::ChunkVersion;
use proptest::prelude::*;

use super::model::{CHUNK_BYTES, HANDLE, Model, Op, open};

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..5000u64).prop_map(Op::Append),
        2 => (1..150_000u64).prop_map(Op::Append),
        4 => (0..CHUNK_BYTES, 1..100_000u64).prop_map(|(offset, length)| Op::Write(offset, length)),
        2 => (0..5000u64, 1..3000u64).prop_map(|(offset, length)| Op::Write(offset, length)),
        1 => (0..CHUNK_BYTES).prop_map(Op::Pad),
        1 => (0..CHUNK_BYTES).prop_map(Op::Truncate),
        2 => Just(Op::Flush),
        1 => Just(Op::Version),
        1 => Just(Op::Clean),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_store_does_what_the_model_does(
        ops in proptest::collection::vec(op(), 1..40),
        kills in proptest::collection::vec(0..40usize, 0..4),
    ) {
        let mut fs = SimFs::new(1);
        fs.set_short_reads(true);
        let (mut store, _) = open(fs.clone()).unwrap();
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        let mut model = Model { version: 1, ..Model::default() };
        for (index, op) in ops.into_iter().enumerate() {
            if kills.contains(&index) {
                fs = fs.kill();
                store = open(fs.clone()).unwrap().0;
            }
            model.act(&store, op).unwrap();
            model = model.run(op).pop().unwrap();
            prop_assert_eq!(model.check(&store), Ok(()), "after {:?}", op);
        }
        let (store, _) = open(fs.kill()).unwrap();
        prop_assert_eq!(model.check(&store), Ok(()));
    }
}

/// Found by the test above: after the flush the last overwrite took the redo area of the one before it, and the older
/// record in the other area was laid over both when the killed process came back.
#[test]
fn an_older_redo_record_does_not_undo_a_newer_overwrite() {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    let mut model = Model { version: 1, ..Model::default() };
    let older = Op::Write(104_387, 93_593);
    let newer = Op::Write(80_647, 23_741);
    for op in [Op::Append(200_000), Op::Write(0, 1), older, newer, Op::Flush, Op::Write(0, 1)] {
        model.act(&store, op).unwrap();
        model = model.run(op).pop().unwrap();
        let (killed, _) = open(fs.kill()).unwrap();
        assert_eq!(model.check(&killed), Ok(()), "after {op:?}");
    }
}
