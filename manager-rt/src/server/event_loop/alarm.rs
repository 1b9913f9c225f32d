//! The clock that wakes the event loop when the state machine has to be told that time has passed.
//!
//! epoll(7) counts its timeout in whole milliseconds, so a wait of 0.1 ms would end after more than 1 ms. A timer among
//! the watched descriptors is exact, and costs a system call only when the moment changes.

use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use mp_sys::OsError;
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A timer of the event loop.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    /// The moment at which it rings, if it has not rung yet.
    rings_at: Option<u64>,
}

impl Alarm {
    /// Makes a timer whose ringing is reported with `token`.
    ///
    /// # Errors
    /// The error of the system call.
    pub(super) fn new(registry: &Registry, token: Token) -> Result<Self, OsError> {
        let timer = mp_sys::descriptors::timerfd().map_err(std::io::Error::from)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, rings_at: None })
    }

    /// Lets the timer ring at a moment of the monotonic clock, in nanoseconds, and not at an earlier one.
    ///
    /// # Errors
    /// The error of the system call.
    pub(super) fn set(&mut self, at: u64) -> Result<(), OsError> {
        if self.rings_at == Some(at) {
            return Ok(());
        }
        // Zero would switch the timer off.
        let moment = at.max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(moment / NANOS_PER_SEC).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(moment % NANOS_PER_SEC).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).map_err(std::io::Error::from)?;
        self.rings_at = Some(at);
        Ok(())
    }

    /// Records that the timer has rung.
    pub(super) const fn has_rung(&mut self) {
        self.rings_at = None;
    }
}
