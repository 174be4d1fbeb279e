//! What is there before the master knows what it is: its addresses, and the file that tells them.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use gfs_durable::atomic;
use gfs_durable::fs::Fs;
use gfs_types::config::ListenConfig;
use tokio::net::TcpListener;

/// The file in the data directory that tells the addresses in use.
pub(crate) const ADDRESS_FILE: &str = "address";

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("`{key}` is {address}: {reason}")]
pub(crate) struct ListenError {
    key: &'static str,
    address: String,
    reason: String,
    #[source]
    source: io::Error,
}

/// The listeners and how others reach them.
#[derive(Debug)]
pub(crate) struct Front {
    /// For the master's own protocol.
    pub(crate) listener: TcpListener,
    /// `HOST:PORT` of it, as others reach it.
    pub(crate) address: String,
    /// For health and metrics.
    pub(crate) http_listener: TcpListener,
    /// `HOST:PORT` of it, as others reach it.
    pub(crate) http_address: String,
}

impl Front {
    /// Listens.
    ///
    /// # Errors
    /// The key and the address that cannot be had, and why.
    pub(crate) async fn listen(net: &ListenConfig) -> Result<Self, ListenError> {
        let (listener, address) = listen("net.listen", &net.listen, net).await?;
        let (http_listener, http_address) =
            listen("net.http_listen", &net.http_listen, net).await?;
        Ok(Self { listener, address, http_listener, http_address })
    }

    /// Writes both addresses into the data directory, for whoever started this process with port 0.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn publish(&self, fs: &dyn Fs, dir: &Path) -> io::Result<()> {
        let text = format!("data {}\nhttp {}\n", self.address, self.http_address);
        match atomic::replace(fs, &dir.join(ADDRESS_FILE), text.as_bytes()) {
            // A full disk keeps nobody from serving: others are told the address otherwise.
            Err(error)
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                tracing::warn!(%error, "no space for the file that tells the addresses");
                Ok(())
            }
            written => written,
        }
    }
}

/// Removes the addresses of an earlier run: nobody listens there now.
///
/// # Errors
/// The disk failed.
pub(crate) fn unpublish(fs: &Arc<dyn Fs>, dir: &Path) -> io::Result<()> {
    match fs.remove_file(&dir.join(ADDRESS_FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn listen(
    key: &'static str,
    address: &str,
    net: &ListenConfig,
) -> Result<(TcpListener, String), ListenError> {
    let failed = |source: io::Error| {
        let reason = reason(&source);
        ListenError { key, address: address.to_owned(), reason, source }
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, net.reached(local)))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "the port is in use by another process; stop it or choose another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(listen: &str) -> ListenConfig {
        let http_listen = "127.0.0.1:0".to_owned();
        ListenConfig { listen: listen.to_owned(), http_listen, advertise: None }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = Front::listen(&net("127.0.0.1:0")).await.unwrap();
        let error = Front::listen(&net(&first.address)).await.unwrap_err().to_string();
        assert!(error.contains(&first.address), "{error}");
        assert!(error.contains("net.listen") && error.contains("in use"), "{error}");
    }
}
