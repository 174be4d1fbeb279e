//! From a data directory to a master of a cluster: formatted if it is blank, then recovered.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gfs_durable::data_dir::{BlankDir, DataDir};
use gfs_durable::log::LogOptions;
use gfs_types::Error;
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::region::ChunkSize;

use super::{Event, Shell, blocking};
use crate::lifecycle::{self, NewCluster};
use crate::oplog::{self, Recovered};
use crate::server::Standing;

impl Shell {
    /// Formats a blank directory: by the configuration at once, else when somebody says so. `None`:
    /// the end came first.
    pub(super) async fn formatted(
        &mut self,
        blank: BlankDir,
        shutdown: &mut (impl Future<Output = ()> + Unpin),
    ) -> anyhow::Result<Option<DataDir>> {
        if let Some(cluster) = self.config.format {
            return self.format(blank, cluster).await.map(Some);
        }
        self.standing.send_replace(Standing::Blank);
        self.health.not_ready("blank: this master belongs to no cluster yet; format it");
        tracing::warn!(dir = %self.dir.display(), "the data directory is blank: waiting to be formatted");
        self.tell(Event::Blank);
        let order = tokio::select! {
            Some(order) = self.orders.recv() => order,
            () = shutdown => return Ok(None),
        };
        self.standing.send_replace(Standing::Starting);
        let data_dir = self.format(blank, order.cluster).await;
        let own = data_dir.as_ref().map(|data_dir| data_dir.format().own_uid);
        let told = match own {
            Ok(own) => Ok(gfs_membership::record::first(order.cluster, own)),
            Err(error) => Err(Error::internal(format!("not formatted: {error:#}"))),
        };
        // Whoever asked may be gone; it can ask again.
        let _ = order.done.send(told);
        data_dir.map(Some)
    }

    async fn format(&self, blank: BlankDir, cluster: ClusterUid) -> anyhow::Result<DataDir> {
        let chunk_size = ChunkSize::new(self.config.chunk_size.0)?;
        let new = NewCluster { cluster, master: ServerUid(random_u128()?), chunk_size };
        let (fs, options) = (self.fs.clone(), self.log_options(cluster));
        let data_dir = blocking(move || lifecycle::format(&fs, blank, new, options)).await?;
        tracing::info!(%cluster, master = %new.master, "formatted");
        Ok(data_dir)
    }

    fn log_options(&self, cluster: ClusterUid) -> LogOptions {
        // The log wants whole sectors.
        let segment_bytes = self.config.log_segment_size.0 / 512 * 512;
        LogOptions { segment_bytes, ..LogOptions::new(cluster) }
    }

    /// `None`: the end came first.
    pub(super) async fn recover(
        &self,
        cluster: ClusterUid,
        shutdown: &mut (impl Future<Output = ()> + Unpin),
    ) -> anyhow::Result<Option<Recovered>> {
        let (fs, dir, options) = (self.fs.clone(), self.dir.clone(), self.log_options(cluster));
        let begin = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let recover = blocking(move || oplog::recover(&fs, &dir, options, &stopped));
        tokio::pin!(recover);
        let recovered = tokio::select! {
            recovered = &mut recover => recovered?,
            () = shutdown => {
                stop.store(true, Ordering::Relaxed);
                // Whatever became of it, nothing was changed.
                let _ = recover.await;
                return Ok(None);
            }
        };
        self.tell_recovered(&recovered, begin.elapsed());
        Ok(Some(recovered))
    }

    fn tell_recovered(&self, recovered: &Recovered, took: Duration) {
        let last = recovered.state.position();
        self.metrics.replayed(recovered.checkpoint, last, recovered.replayed, took);
        tracing::info!(
            checkpoint = recovered.checkpoint.0,
            log_pos = last.0,
            records = recovered.replayed,
            ?took,
            "recovered"
        );
    }
}

fn random_u128() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
