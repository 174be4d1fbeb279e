//! The addresses of a chunkserver: taken, and published in its data directory.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context as _;
use gfs_durable::atomic;
use gfs_durable::fs::Fs;
use gfs_types::config::ListenConfig;

const FILE: &str = "address";

/// Both listeners, and how others reach them.
pub(super) struct Front {
    pub(super) listener: TcpListener,
    pub(super) http_listener: tokio::net::TcpListener,
    /// `HOST:PORT` of the data plane.
    pub(super) address: String,
    /// `HOST:PORT` of health and metrics.
    pub(super) http_address: String,
}

impl Front {
    /// Takes both addresses; port 0 takes a free one.
    pub(super) async fn listen(net: &ListenConfig) -> anyhow::Result<Self> {
        let bind = async |key: &str, address: &str| {
            let bound = tokio::net::TcpListener::bind(address).await;
            bound.with_context(|| format!("cannot listen at `{address}` (`{key}`)"))
        };
        let data = bind("net.listen", &net.listen).await?;
        gfs_protocol::socket::begin(&data);
        let http_listener = bind("net.http_listen", &net.http_listen).await?;
        let address = net.reached(data.local_addr()?);
        let http_address = net.reached(http_listener.local_addr()?);
        let listener = data.into_std()?;
        listener.set_nonblocking(false)?;
        Ok(Self { listener, http_listener, address, http_address })
    }

    /// Writes the file by which others on this machine find the addresses.
    pub(super) fn publish(&self, fs: &dyn Fs, dir: &Path) -> anyhow::Result<()> {
        let text = format!("data {}\nhttp {}\n", self.address, self.http_address);
        match atomic::replace(fs, &dir.join(FILE), text.as_bytes()) {
            // A full disk keeps nobody from serving: the master is told the address anyway.
            Err(error)
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                tracing::warn!(%error, "no space for the file that tells the addresses");
                Ok(())
            }
            written => written.context("publishing the address"),
        }
    }
}

/// Removes that file: nobody shall find addresses that nobody listens at.
pub(super) fn unpublish(fs: &dyn Fs, dir: &Path) -> anyhow::Result<()> {
    match fs.remove_file(&dir.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("removing the address of an earlier run")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_names_the_ports_that_were_taken_and_goes_again() {
        use gfs_durable::fs::real::RealFs;
        let dir = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".to_owned();
        let net = ListenConfig { listen: any.clone(), http_listen: any, advertise: None };
        let front = Front::listen(&net).await.unwrap();
        front.publish(&RealFs, dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let data = front.listener.local_addr().unwrap();
        assert_eq!(text, format!("data {data}\nhttp {}\n", front.http_address));
        let taken = ListenConfig { listen: data.to_string(), ..net };
        let error = Front::listen(&taken).await.err().unwrap();
        assert!(format!("{error:#}").contains(&data.to_string()), "{error:#}");
        unpublish(&RealFs, dir.path()).unwrap();
        unpublish(&RealFs, dir.path()).unwrap();
        assert!(!dir.path().join(FILE).exists());
    }
}
