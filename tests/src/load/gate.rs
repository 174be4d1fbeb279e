//! Where all members of a crew pass before each operation.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// What everybody is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Work,
    Rest,
    End,
}

#[derive(Debug)]
pub(super) struct Gate {
    wish: watch::Sender<Wish>,
    resting: AtomicUsize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { wish: watch::Sender::new(Wish::Work), resting: AtomicUsize::new(0) }
    }
}

impl Gate {
    /// Waits while all are to rest; false when the work is over.
    pub(super) async fn pass(&self) -> bool {
        let mut wish = self.wish.subscribe();
        if *wish.borrow_and_update() == Wish::Rest {
            self.resting.fetch_add(1, Ordering::SeqCst);
            // The sender lives as long as this gate.
            let _ = wish.wait_for(|wish| *wish != Wish::Rest).await;
            self.resting.fetch_sub(1, Ordering::SeqCst);
        }
        *wish.borrow() != Wish::End
    }

    pub(super) fn rest(&self) {
        self.wish.send_replace(Wish::Rest);
    }

    pub(super) fn resume(&self) {
        self.wish.send_replace(Wish::Work);
    }

    pub(super) fn end(&self) {
        self.wish.send_replace(Wish::End);
    }

    /// How many stand here.
    pub(super) fn resting(&self) -> usize {
        self.resting.load(Ordering::SeqCst)
    }
}
