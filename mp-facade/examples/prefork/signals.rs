//! The signals that the parent acts on.
//!
//! A handler writes a byte into a socket, which wakes the parent, and sets a flag, which says what happened. The flag decides: a
//! forked child inherits the handlers until it removes them, and shares the socket with its parent, but not the flag. So a
//! signal that hits a young child only wakes the parent.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

/// The handlers of a process.
#[derive(Debug)]
pub(crate) struct Signals {
    wakes: UnixStream,
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let install = || {
            let (wakes, waker) = UnixStream::pair()?;
            wakes.set_nonblocking(true)?;
            let [end, reload] = [0; 2].map(|_| Arc::new(AtomicBool::new(false)));
            // A log that is as long as a file may be (RLIMIT_FSIZE) fails to be written, and ends no process.
            let _for_ever: SigId = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
            let mut handlers = Vec::new();
            for (signal, says) in [(SIGTERM, &end), (SIGINT, &end), (SIGHUP, &reload)] {
                // The flag first, because the byte is what the parent looks for.
                handlers.push(flag::register(signal, Arc::clone(says))?);
                handlers.push(low_level::pipe::register(signal, waker.try_clone()?)?);
            }
            Ok::<_, std::io::Error>(Self { wakes, end, reload, handlers })
        };
        install().context("no handlers for signals")
    }

    /// Forgets that it was woken, before somebody looks at the flags.
    pub(crate) fn drain(&self) {
        let mut buffer = [0; 64];
        while matches!((&self.wakes).read(&mut buffer), Ok(bytes) if bytes > 0) {}
    }

    /// Whether this process was asked to end. That stays so.
    pub(crate) fn must_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether this process was asked to reload since the last call.
    pub(crate) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// Makes a forked child ignore the signals that are meant for its parent. It keeps the flag of SIGTERM, which its own
    /// handler follows.
    pub(crate) fn leave_to_parent(&self) {
        for (index, handler) in self.handlers.iter().enumerate() {
            // Both handlers of SIGTERM come first. Without its others, a signal is ignored.
            if index > 0 {
                low_level::unregister(*handler);
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakes.as_fd()
    }
}
