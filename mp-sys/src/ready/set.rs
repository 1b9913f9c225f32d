//! A set of descriptors, and a moment, as one descriptor.
//!
//! A program that waits by its own event loop needs one descriptor for everything that an object of a library waits for. Only
//! epoll(7) offers that. A forked child shares the epoll instance with its parent, so the child must not use it:
//!
//! - In a child, all methods fail with `EPERM`. Dropping the set closes the child's copy of the descriptor, which changes nothing
//!   in the parent.
//! - So `fork` may ignore such a set when it looks for event loops. [`is_own_set`] knows the numbers.
//! - The kernel removes a descriptor from the set only when its last copy is closed, and a child may have a copy. So the owner
//!   calls [`ReadySet::remove`] before it closes one.
//!
//! Source: epoll(7) "Questions and answers", timerfd_create(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

use crate::OsError;
use crate::deadline::Deadline;
use crate::descriptors;
use crate::fork::{Epoch, PerProcess};

/// The most descriptors that one call of [`ReadySet::ready`] returns.
pub const READY_AT_ONCE_MAX: usize = 64;
/// What the kernel reports for the alarm.
const ALARM: u64 = u64::MAX;
/// A time of zero switches a timer off.
const OFF: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The numbers of the sets of this process. A child has its parent's sets too.
static NUMBERS: PerProcess<Vec<RawFd>> = PerProcess::inherited();

/// Returns whether a descriptor is a set of this process, or one that it has inherited.
pub(crate) fn is_own_set(number: RawFd) -> bool {
    NUMBERS.lock_briefly().contains(&number)
}

/// Descriptors, each with a word of the owner's, and an alarm. Its own descriptor is readable while one of them is, or when the
/// time of the alarm has come.
#[derive(Debug)]
pub struct ReadySet {
    epoll: OwnedFd,
    timer: OwnedFd,
    owner: Epoch,
}

impl ReadySet {
    /// Makes an empty set.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Self, OsError> {
        let timer = descriptors::timerfd()?;
        let epoll = descriptors::epoll()?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN)?;
        NUMBERS.lock_briefly().push(epoll.as_raw_fd());
        Ok(Self { epoll, timer, owner: Epoch::current() })
    }

    fn check_owner(&self) -> Result<(), Errno> {
        if self.owner.is_current() { Ok(()) } else { Err(Errno::PERM) }
    }

    /// Adds a descriptor. `word` is what [`ready`](Self::ready) returns for it, and is not `u64::MAX`.
    ///
    /// # Errors
    /// `EEXIST` if it is in the set; `EPERM` if it can never become readable, or in a forked child; `ENOMEM`, `ENOSPC`.
    pub fn add(&self, file: impl AsFd, word: u64) -> Result<(), OsError> {
        self.check_owner()?;
        epoll::add(&self.epoll, file, epoll::EventData::new_u64(word), epoll::EventFlags::IN)?;
        Ok(())
    }

    /// Removes a descriptor. Do this before you close it.
    ///
    /// # Errors
    /// `ENOENT` if it is not in the set; `EPERM` in a forked child.
    pub fn remove(&self, file: impl AsFd) -> Result<(), OsError> {
        self.check_owner()?;
        Ok(epoll::delete(&self.epoll, file)?)
    }

    /// Sets the time of the alarm, in place of the one before. The alarm of [`Deadline::NEVER`] does not come.
    ///
    /// # Errors
    /// `EPERM` in a forked child.
    pub fn set_alarm(&self, at: Deadline) -> Result<(), OsError> {
        self.check_owner()?;
        let it_value = at.absolute_timespec().unwrap_or(OFF);
        let once = Itimerspec { it_interval: OFF, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Returns the words of the descriptors that are readable, at their end or in error, at most [`READY_AT_ONCE_MAX`] of
    /// them. The others follow with the next call. It does not wait.
    ///
    /// # Errors
    /// `EPERM` in a forked child.
    pub fn ready(&self) -> Result<Vec<u64>, OsError> {
        self.check_owner()?;
        // One more for the alarm.
        let mut events = Vec::with_capacity(READY_AT_ONCE_MAX.saturating_add(1));
        // Without a wait, no signal interrupts the call.
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&OFF))?;
        let words = events.iter().map(|event| event.data.u64()).filter(|word| *word != ALARM);
        Ok(words.take(READY_AT_ONCE_MAX).collect())
    }
}

impl AsFd for ReadySet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for ReadySet {
    fn drop(&mut self) {
        // Before the descriptor is closed: another one may get its number then.
        let number = self.epoll.as_raw_fd();
        NUMBERS.lock_briefly().retain(|other| *other != number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::EventfdFlags;

    use super::*;
    use crate::child::poll_readable;
    use crate::ready::is_readable;

    fn event(value: u32) -> OwnedFd {
        descriptors::eventfd(value, EventfdFlags::CLOEXEC).unwrap()
    }

    fn comes(set: &ReadySet) -> bool {
        poll_readable(set.as_fd(), Deadline::after(Duration::from_secs(30))).unwrap()
    }

    #[test]
    fn it_is_readable_while_a_descriptor_is() {
        let set = ReadySet::new().unwrap();
        let (quiet, busy) = (event(0), event(1));
        set.add(&quiet, 5).unwrap();
        assert!(!is_readable(set.as_fd()));
        set.add(&busy, 6).unwrap();
        assert_eq!(set.add(&busy, 6), Err(Errno::EXIST.into()));
        for _ in 0..2 {
            assert!(is_readable(set.as_fd()));
            assert_eq!(set.ready(), Ok(vec![6]));
        }
        set.remove(&busy).unwrap();
        assert_eq!(set.remove(&busy), Err(Errno::NOENT.into()));
        assert_eq!(set.ready(), Ok(vec![]));
        assert!(!is_readable(set.as_fd()));
    }

    #[test]
    fn more_descriptors_than_one_call_returns_follow_with_the_next() {
        let set = ReadySet::new().unwrap();
        set.set_alarm(Deadline::after(Duration::ZERO)).unwrap();
        assert!(comes(&set));
        let all: Vec<OwnedFd> = (0..=READY_AT_ONCE_MAX).map(|_| event(1)).collect();
        for (word, file) in (0..).zip(&all) {
            set.add(file, word).unwrap();
        }
        let first = set.ready().unwrap();
        assert_eq!(first.len(), READY_AT_ONCE_MAX);
        for word in &first {
            set.remove(&all[usize::try_from(*word).unwrap()]).unwrap();
        }
        let rest = set.ready().unwrap();
        assert!(rest.len() == 1 && !first.contains(&rest[0]), "{rest:?}");
    }

    #[test]
    fn an_alarm_comes_until_another_one_takes_its_place() {
        let set = ReadySet::new().unwrap();
        set.set_alarm(Deadline::after(Duration::from_millis(1))).unwrap();
        assert!(comes(&set));
        assert_eq!(set.ready(), Ok(vec![]), "it has no word");
        assert!(is_readable(set.as_fd()));
        set.set_alarm(Deadline::NEVER).unwrap();
        assert!(!is_readable(set.as_fd()));
    }
}
