//! The thread that makes the next log segment ready, so that no operation waits for its zeros.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use gfs_durable::log::Preparer;

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
    pub fn start(preparer: Preparer) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("log-prepare".to_owned())
            .spawn(move || run(&preparer, &woken))?;
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

fn run(preparer: &Preparer, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = preparer.prepare() {
            tracing::warn!(
                %error,
                "the next log segment cannot be made ready; the log goes on in the one it has"
            );
        }
    }
}
