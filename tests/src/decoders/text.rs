//! What people type: paths, topologies, ids, durations and sizes.

use std::fmt::{Debug, Display};
use std::str::{FromStr, from_utf8};

use gfs_types::ids::{ChunkHandle, ClusterUid, FileId, ServerUid, SessionId};
use gfs_types::path::GfsPath;
use gfs_types::topology::Topology;
use gfs_types::{ByteSize, DurationMs};

use super::{Decoder, MANY, SMALL, Verdict};

pub(super) const PATH: Decoder =
    Decoder { name: "path", run: path, samples: path_samples, memory: SMALL, mutations: MANY };
pub(super) const TOPOLOGY: Decoder = Decoder {
    name: "topology",
    run: |bytes| comes_back::<Topology>(bytes),
    samples: || texts(&["", "zone-a", "zone-a/host-1/disk-0", "1/2/3/4/5/6/7/8"]),
    memory: SMALL,
    mutations: MANY,
};
pub(super) const UNIT: Decoder = Decoder {
    name: "unit",
    run: |bytes| comes_back::<DurationMs>(bytes).or(comes_back::<ByteSize>(bytes)),
    samples: || texts(&["250ms", "10s", "3d", "0ms", "512", "64 KiB", "64MiB", "16777215TiB"]),
    memory: SMALL,
    mutations: MANY,
};
pub(super) const ID: Decoder = Decoder {
    name: "id",
    run: |bytes| {
        comes_back::<ClusterUid>(bytes)
            .or(comes_back::<ServerUid>(bytes))
            .or(comes_back::<ChunkHandle>(bytes))
            .or(comes_back::<FileId>(bytes))
            .or(comes_back::<SessionId>(bytes))
    },
    samples: || texts(&["0123456789abcdef", "0123456789abcdef0123456789abcdef"]),
    memory: SMALL,
    mutations: MANY,
};

/// What is printed parses to the same.
fn comes_back<T: FromStr + Display + Debug + PartialEq>(bytes: &[u8]) -> Verdict {
    let Some(value) = from_utf8(bytes).ok().and_then(|text| text.parse::<T>().ok()) else {
        return Verdict::Refused;
    };
    assert_eq!(value.to_string().parse().ok(), Some(value));
    Verdict::Accepted
}

fn path(bytes: &[u8]) -> Verdict {
    let Some(path) = from_utf8(bytes).ok().and_then(|text| GfsPath::parse(text).ok()) else {
        return Verdict::Refused;
    };
    assert_eq!(GfsPath::parse(path.as_str()), Ok(path.clone()), "a normal path stays as it is");
    assert_eq!(path.names().count() == 0, path.is_root());
    let rebuilt = path.parent().zip(path.name()).map(|(parent, name)| parent.join(name));
    assert_eq!(rebuilt, (!path.is_root()).then_some(Ok(path)), "parent and name make the path");
    Verdict::Accepted
}

fn path_samples() -> Vec<Vec<u8>> {
    let longest = format!("/{}", "n".repeat(255));
    let deepest = "/d".repeat(256);
    texts(&["/", "/a", "//a///b/", "/with space/ü/-dash", "/...", &longest, &deepest])
}

pub(super) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
