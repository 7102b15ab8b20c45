//! Work that may hang, done aside: a disk, a mail system or sync(2) that never returns must not hold up what is urgent.
//!
//! The thread is there before it is needed: a machine in trouble may have none to give later.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// The stack of the thread, in octets: it is locked into memory with everything else.
const STACK: usize = 256 * 1024;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that does one thing after another.
#[derive(Debug)]
pub struct Aside {
    work: Sender<Work>,
}

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the machine has no thread to give.
    pub fn new() -> io::Result<Self> {
        let (work, todo): (Sender<Work>, Receiver<Work>) = mpsc::channel();
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn(move || todo.into_iter().for_each(|work| work()))?;
        Ok(Self { work })
    }

    /// Does something, and waits for it as long as `patience` lasts. What takes longer goes on behind our back, and
    /// everything after it waits for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if it takes longer.
    pub fn within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = mpsc::channel();
        let unheard = move || drop(done.send(work()));
        let gone = |_| io::Error::other("the thread for it has ended");
        self.work.send(Box::new(unheard)).map_err(gone)?;
        result.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                io::Error::new(io::ErrorKind::TimedOut, format!("it took longer than {patience:?}"))
            }
            RecvTimeoutError::Disconnected => io::Error::other("the thread for it has ended"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_hangs_is_left_behind() {
        let aside = Aside::new().unwrap();
        assert_eq!(aside.within(Duration::from_secs(60), || 7).unwrap(), 7);
        let (go, gate) = mpsc::channel::<()>();
        let hangs = move || gate.recv().is_ok();
        let begun = Instant::now();
        let error = aside.within(Duration::from_millis(20), hangs).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = aside.within(Duration::from_millis(20), || 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "in order, or not at all");
        assert!(begun.elapsed() < Duration::from_secs(30));
        drop(go);
        assert_eq!(aside.within(Duration::from_secs(60), || 9).unwrap(), 9);
    }
}
