//! The thread that makes the next log segment ready, so that no operation waits for its zeros.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use gfs_durable::log::Preparer;
use gfs_types::limits::NO_SPACE_RETRY_MS;

use crate::room::Growth;

/// A handle to the thread; dropped, the thread ends.
#[derive(Debug)]
pub struct PrepareThread {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PrepareThread {
    /// Starts it.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(preparer: Preparer, growth: Arc<Growth>) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("log-prepare".to_owned())
            .spawn(move || run(&preparer, &growth, &woken))?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    /// A segment is wanted soon; costs nothing when one is ready.
    pub fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: it is about to look anyway.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for PrepareThread {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was told by the runtime; the log makes its segments itself then.
            let _ = thread.join();
        }
    }
}

/// After a failure it tries again by itself: when nothing is logged for want of space, nobody wakes it.
fn run(preparer: &Preparer, growth: &Growth, woken: &Receiver<()>) {
    let mut failed = false;
    loop {
        let wait = if failed { NO_SPACE_RETRY_MS.0 } else { u64::MAX };
        match woken.recv_timeout(Duration::from_millis(wait)) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let prepared = preparer.prepare();
        growth.prepared(prepared.is_ok());
        match prepared {
            Ok(()) if failed => tracing::info!("the next log segment is ready again"),
            Err(error) if !failed => tracing::warn!(
                %error,
                "the next log segment cannot be made ready; the log goes on in the one it has"
            ),
            Ok(()) | Err(_) => {}
        }
        failed = growth.was_refused();
    }
}
