//! The end of a process that must not go on.

use std::fmt;
use std::sync::Arc;

/// The exit code after an error behind which nothing can be promised: "internal software error".
pub const EXIT_CODE: i32 = 70;

/// What happens on such an error: the process ends. Tests put something else in its place.
#[derive(Clone)]
pub struct Fatal(Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fatal")
    }
}

impl Default for Fatal {
    fn default() -> Self {
        Self(Arc::new(|why| {
            tracing::error!(
                "{why}: the master ends at once, since nothing can be promised any more"
            );
            std::process::exit(EXIT_CODE);
        }))
    }
}

impl Fatal {
    /// Calls `act` instead of ending the process. The thread that failed stops all the same.
    pub fn calling(act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    /// Says why, and ends the process.
    pub fn end(&self, why: impl fmt::Display) {
        (self.0)(&why.to_string());
    }

    /// A guard for a thread that the process cannot do without: a broken invariant there is the end.
    #[must_use]
    pub fn on_panic(&self, thread: &'static str) -> PanicGuard {
        PanicGuard { fatal: self.clone(), thread }
    }
}

/// Ends the process when it is dropped by a panic.
#[derive(Debug)]
pub struct PanicGuard {
    fatal: Fatal,
    thread: &'static str,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fatal.end(format_args!("the thread `{}` panicked", self.thread));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_panic_of_a_guarded_thread_is_the_end_and_a_return_is_not() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let fatal = Fatal::calling(move |why| log.lock().unwrap().push(why.to_owned()));
        let run = |panics: bool| {
            let fatal = fatal.clone();
            std::thread::spawn(move || {
                let _guard = fatal.on_panic("driver");
                assert!(!panics, "an invariant");
            })
            .join()
        };
        run(false).unwrap();
        assert!(seen.lock().unwrap().is_empty());
        run(true).unwrap_err();
        assert_eq!(*seen.lock().unwrap(), ["the thread `driver` panicked"]);
    }
}
