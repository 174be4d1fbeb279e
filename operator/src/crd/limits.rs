//! Bounds of the resource, for its schema and for [`crate::validate`].

/// Characters of a cluster's name: with the longest name of a domain and the hash of a revision it still is a label.
pub(crate) const NAME_CHARACTERS_MAX: usize = 30;
/// Most chunkservers of a cluster: tests of the system have seen some dozen, and each is a stream to the one master.
pub(crate) const CHUNKSERVERS_MAX: i32 = 1000;
/// Most failure domains of a cluster: each is a StatefulSet.
pub(crate) const DOMAINS_MAX: usize = 16;
/// Characters of a domain's name.
pub(crate) const DOMAIN_NAME_CHARACTERS_MAX: usize = 15;
/// Most secrets for fetching images.
pub(crate) const PULL_SECRETS_MAX: usize = 8;
/// Characters of the name of an object of Kubernetes.
pub(crate) const OBJECT_NAME_CHARACTERS_MAX: usize = 253;
/// Bytes of the smallest volume: what a master keeps free for its next log segments and checkpoints.
pub(crate) const VOLUME_BYTES_MIN: u64 = gfs_types::limits::MASTER_RESERVE_BYTES;
/// Bytes of the largest volume: quantities of Kubernetes end at eight times that.
pub(crate) const VOLUME_BYTES_MAX: u64 = 1 << 60;
/// What a container may ask for. Others belong to devices, of which no server knows.
pub(crate) const RESOURCES: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
/// Largest weight of a domain.
pub(crate) const WEIGHT_MAX: i32 = 100;
