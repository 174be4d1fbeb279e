//! Overwriters: regions of one file, each with one writer and a version stamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use gfs_client::{Client, File};
use tokio::time::sleep;

use super::{Count, Shared};
use crate::payload;

/// Regions lie side by side: neighbours with different writers share blocks.
const STRIDE_BYTES: u64 = 100_000;
/// So many lie in one MiB and none crosses its end: each write lies inside one chunk, and goes out as one.
const REGIONS_PER_MIB: u64 = 10;
const MIBS: u64 = 2;
/// Some writes travel inside their request, some are pushed before.
const LENGTHS: [usize; 4] = [40_000, 40_000, 100_000, 100_000];
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(30);
/// Regions have ids that no appender has.
const FIRST_WRITER: u64 = 1 << 40;

/// The versions of each region; 0 is "never written".
#[derive(Debug)]
pub(super) struct Regions {
    number: u64,
    all: Vec<Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    attempted: AtomicU64,
    acknowledged: AtomicU64,
}

impl Regions {
    pub(super) fn new(number: u64, any: bool) -> Self {
        let count = if any { MIBS * REGIONS_PER_MIB } else { 0 };
        Self { number, all: (0..count).map(|_| Versions::default()).collect() }
    }

    pub(super) async fn write_first(&self, client: &Client, path: &str) -> Result<()> {
        let file = client.create(path, Default::default()).await?;
        for region in 0..self.all.len() {
            self.write(&file, region).await?;
        }
        Ok(())
    }

    /// Writes the next version of a region.
    async fn write(&self, file: &File, region: usize) -> Result<()> {
        let versions = &self.all[region];
        let version = versions.attempted.fetch_add(1, Ordering::SeqCst) + 1;
        file.write_at(Self::offset(region), self.content(region, version)).await?;
        versions.acknowledged.store(version, Ordering::SeqCst);
        Ok(())
    }

    fn offset(region: usize) -> u64 {
        let (mib, place) = (region as u64 / REGIONS_PER_MIB, region as u64 % REGIONS_PER_MIB);
        (mib << 20) + place * STRIDE_BYTES
    }

    fn content(&self, region: usize, version: u64) -> Vec<u8> {
        let writer = FIRST_WRITER + self.number * 1000 + region as u64;
        payload::record(writer, version, LENGTHS[region % LENGTHS.len()])
    }

    /// Reads one region: what its last acknowledged write left, or one that was attempted later; while nobody writes, the
    /// last acknowledged and nothing else.
    pub(super) async fn check_one(&self, file: &File, region: usize) -> Result<()> {
        let versions = &self.all[region];
        let least = versions.acknowledged.load(Ordering::SeqCst);
        let length = LENGTHS[region % LENGTHS.len()];
        let bytes = file.read_at(Self::offset(region), length as u64).await?;
        let most = versions.attempted.load(Ordering::SeqCst);
        let fits = if least == most {
            bytes == self.content(region, least)
        } else {
            // A read beside a write may see some blocks before and some after.
            let may_be: Vec<_> = (least..=most).map(|v| self.content(region, v)).collect();
            is_woven_of(&bytes, &may_be)
        };
        ensure!(
            fits,
            "region {region} holds {:?} of {length} bytes, not version {least}..={most}",
            payload::check(&bytes).map(|(_, version)| version),
        );
        Ok(())
    }

    pub(super) async fn check(&self, client: &Client, path: &str) -> Result<()> {
        let file = client.open(path).await?;
        for region in 0..self.all.len() {
            self.check_one(&file, region).await?;
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

/// Whether each byte is that of one of these versions, all as long as it.
fn is_woven_of(bytes: &[u8], versions: &[Vec<u8>]) -> bool {
    versions.iter().all(|version| version.len() == bytes.len())
        && (0..bytes.len()).all(|at| versions.iter().any(|version| version[at] == bytes[at]))
}

/// Overwriter `number` of `all`: every so-manyth region is its own.
pub(super) async fn run(shared: Arc<Shared>, number: u64, all: u64) -> Result<()> {
    let client = shared.connect().await?;
    let file = client.open(shared.regions_path()).await?;
    let own: Vec<usize> =
        (usize::try_from(number)?..shared.regions.count()).step_by(usize::try_from(all)?).collect();
    for turn in 0u64.. {
        if !shared.gate.pass().await {
            break;
        }
        let region = own[usize::try_from(payload::draw(number, turn) % own.len() as u64)?];
        shared.regions.write(&file, region).await?;
        shared.count(Count::Overwrites);
        // What it wrote itself it must read.
        if turn % 4 == 0 {
            shared.regions.check_one(&file, region).await?;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_of_two_versions_is_told_from_anything_else() {
        let versions = [vec![1; 8], vec![2; 8]];
        assert!(is_woven_of(&[1, 1, 2, 2, 1, 1, 2, 2], &versions));
        assert!(!is_woven_of(&[1, 1, 2, 0, 1, 1, 2, 2], &versions));
        assert!(!is_woven_of(&[1; 7], &versions), "a cut read");
    }
}
