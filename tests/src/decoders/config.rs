//! The configuration files of the servers.

use std::fmt::Debug;
use std::str::from_utf8;

use gfs_types::config::{ChunkserverConfig, ConfigError, MasterConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::text::texts;
use super::{Decoder, MemoryBound, Verdict};

/// The YAML parser keeps every event and anchor of the text, some hundred bytes each.
const YAML: MemoryBound = MemoryBound { fixed_bytes: 256 << 10, per_byte: 512 };

pub(super) const MASTER: Decoder = Decoder {
    name: "config-master",
    run: |bytes| config(bytes, MasterConfig::validate),
    samples: || texts(&[MASTER_SHORT, MASTER_FULL]),
    memory: YAML,
    mutations: 200,
};
pub(super) const CHUNKSERVER: Decoder = Decoder {
    name: "config-chunkserver",
    run: |bytes| config(bytes, ChunkserverConfig::validate),
    samples: || texts(&[CHUNKSERVER_SHORT, CHUNKSERVER_FULL]),
    memory: YAML,
    mutations: 200,
};

const MASTER_SHORT: &str = "\
dir: /var/lib/gfs/master
net: {listen: '127.0.0.1:7400', http_listen: '127.0.0.1:7401'}
";
const MASTER_FULL: &str = "\
dir: /var/lib/gfs/master
net:
  listen: 0.0.0.0:7400
  http_listen: 0.0.0.0:7401
  advertise: master-0.gfs
format: 0123456789abcdef0123456789abcdef
chunk_size: 64MiB
replication: 3
lease: 10s
heartbeat: 500ms
trash_grace: 3d
log_segment_size: 64MiB
reserve: 256MiB
log_format: json
";
const CHUNKSERVER_SHORT: &str = "\
dir: /data
net: {listen: '127.0.0.1:0', http_listen: '127.0.0.1:0'}
masters: ['127.0.0.1:7400']
";
const CHUNKSERVER_FULL: &str = "\
dir: /data
net:
  listen: 0.0.0.0:7500
  http_listen: 0.0.0.0:7501
  advertise: chunkserver-2.gfs
masters: [master-0.gfs:7400, master-1.gfs:7400]
cluster: 0123456789abcdef0123456789abcdef
topology: zone-a/host-1/disk-0
reserve: 1GiB
push_buffer: 256MiB
log_format: text
";

/// Parsed, printed and parsed again is the same, valid or not.
fn config<C>(bytes: &[u8], validate: fn(&C) -> Result<(), ConfigError>) -> Verdict
where
    C: DeserializeOwned + Serialize + Debug + PartialEq,
{
    let parse = |text: &str| serde_yaml::from_str::<C>(text).ok();
    let Some(config) = from_utf8(bytes).ok().and_then(parse) else { return Verdict::Refused };
    let printed = serde_yaml::to_string(&config).expect("a configuration can be printed");
    let verdict = Verdict::of(validate(&config).is_ok());
    assert_eq!(parse(&printed), Some(config), "printed as {printed}");
    verdict
}
