//! The keeper: a process that renews a session, and ends it once its owner has ended.
//!
//! The keeper watches the pidfd of its owner. When the owner dies, the
//! keeper frees at once what the owner held. If both die, as with their host, the lease ends. A line to the owner breaks when the owner
//! executes another program, even if a forked child has copies of all its other descriptors.
//!
//! The owner reads in shared memory until when the session surely lives: a lease after the last renewal was sent, less a
//! margin for clocks that run at different speeds. So it knows that it has lost its locks even if Redis cannot be reached. The keeper
//! ends the session as well if Redis was restarted, since its data may be older.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mp_sys::child::{ChildError, ChildProcess, Lifeline};
use mp_sys::deadline::{Deadline, boot_nanos};
use mp_sys::key::Key;
use mp_sys::ready::readable_later;
use mp_sys::reexec::Handed;
use mp_sys::region::{DATA_START, Region};
use mp_sys::socket::{Endpoint, Head};
use redis::Value as Item;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::command::Keys;
use super::line;
use super::link::{ANSWER_TIME_MAX, Link};
use super::run::Run;
use super::tls::Trust;
use crate::OsError;
use crate::address::RedisUrl;
use crate::backend::CallError;
use crate::engine::keeper::{begin, start};

/// A session is renewed when this part of its lease is over.
const RENEWALS_PER_LEASE: u32 = 3;
/// The part of a lease in which Redis has to answer a renewal, or the keeper tries another connection. Later, before the next
/// renewal, it frees what other sessions held for the same time at most.
const ANSWERS_PER_LEASE: u32 = 6;
/// The shortest time for an answer, since any machine may be busy.
const ANSWER_TIME_MIN: Duration = Duration::from_secs(1);
/// The part of a lease by which clocks may differ at its end.
const MARGIN_SHARE: u32 = 20;
/// How long the keeper waits after a failure before it tries again.
const PAUSE: Duration = Duration::from_millis(50);
/// The length of the memory with the end of a session, in bytes: a page.
const END_BYTES: u64 = 4096;
const HEAD: Head = Head { word: u32::from_le_bytes(*b"keep"), long: 1 };

/// What a keeper receives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) url: String,
    #[serde(with = "crate::key")]
    pub(super) key: Key,
    pub(super) session: String,
    /// The run of Redis in which the session began.
    pub(super) run: Option<Run>,
    pub(super) connect_time: Duration,
}

/// The end of a session, as its keeper writes it and its owner reads it.
#[derive(Debug)]
pub(super) struct End(Region);

impl End {
    pub(super) fn new() -> Result<Self, OsError> {
        let (region, _) = Region::new(END_BYTES, END_BYTES).map_err(|error| {
            tracing::warn!(%error, "there is no memory for a session");
            OsError::from(Errno::NOMEM)
        })?;
        Ok(Self(region))
    }

    fn word(&self) -> Option<&AtomicU64> {
        self.0.word(DATA_START)
    }

    /// Sets the moment, on the clock that counts suspended time. 0 means that the session is lost.
    pub(super) fn set(&self, nanos: u64) {
        if let Some(word) = self.word() {
            word.store(nanos, Ordering::Release);
        }
    }

    /// Returns `true` if the session surely lives.
    pub(super) fn is_ahead(&self) -> bool {
        self.word().is_some_and(|word| boot_nanos() < word.load(Ordering::Acquire))
    }
}

fn part_of(lease: Duration, parts: u32) -> Duration {
    lease.checked_div(parts).unwrap_or_default()
}

/// Returns until when a session surely lives that was renewed by a call made at this moment.
pub(super) fn end_of(asked: u64, lease: Duration) -> u64 {
    let sure = lease.saturating_sub(part_of(lease, MARGIN_SHARE));
    asked.saturating_add(u64::try_from(sure.as_nanos()).unwrap_or(u64::MAX))
}

/// The keeper of a session, as its owner sees it.
#[derive(Debug)]
pub(super) struct Keeper {
    child: ChildProcess,
    endpoint: Endpoint,
}

impl Keeper {
    /// Starts a keeper. Does not wait until it runs.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn start(order: &Order, end: &End) -> Result<Self, OsError> {
        let line = Lifeline::new()?;
        let (child, endpoint) = start(keep, HEAD, order, &[end.0.file().as_fd(), line.as_fd()])?;
        Ok(Self { child, endpoint })
    }

    /// Returns `true` if the keeper has ended, and reaps it.
    pub(super) fn has_ended(&self) -> bool {
        let ended: Result<_, ChildError> = self.child.wait(Deadline::after(Duration::ZERO));
        !matches!(ended, Ok(None))
    }

    /// Makes the keeper end the session, and itself.
    pub(super) fn dismiss(&self) {
        // This reaches the keeper even if a forked process has a copy of the socket.
        let dismissed = self.endpoint.shut_down();
        tracing::trace!(?dismissed, "a session ends");
    }
}

/// The main function of a keeper. Returns its exit code.
fn keep(handed: Handed) -> i32 {
    let Some((order, end, line)) = order_of(&handed) else { return 1 };
    let Ok(url) = RedisUrl::parse(&order.url).map(|(url, _)| url) else { return 1 };
    let Some(info) = url.with_password(order.key.as_bytes()) else { return 1 };
    let Ok(trust) = Trust::of(&url) else { return 1 };
    let (endpoint, parent) = handed.into_parts();
    let patient = Link::new(info.clone(), trust.clone(), order.connect_time.min(ANSWER_TIME_MAX));
    let patient = patient.found_by(url.sentinels());
    let answer_time = part_of(url.lease(), ANSWERS_PER_LEASE).clamp(ANSWER_TIME_MIN, ANSWER_TIME_MAX);
    let session = Kept {
        // A connection may have died without a word, and the lease goes on.
        link: Link::new(info, trust, order.connect_time)
            .found_by(url.sentinels())
            .within(answer_time)
            .since(order.run),
        keys: Keys::new(url.namespace()),
        lease: url.lease(),
        session: order.session,
    };
    loop {
        let due = Deadline::after(part_of(session.lease, RENEWALS_PER_LEASE));
        let next = match session.renew(&end) {
            Ok(true) => due,
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(%error, "a session was not renewed");
                Deadline::after(PAUSE)
            }
        };
        // The owner sends nothing, so the socket is readable once the owner dismisses the keeper. A restart of Redis is noticed
        // at once.
        match session.link.wait_beside(&[endpoint.as_fd(), parent.as_fd(), line.as_fd()], next) {
            Ok(false) => {}
            _ => break,
        }
    }
    end.set(0);
    Kept { link: patient, ..session }.end();
    0
}

fn order_of(handed: &Handed) -> Option<(Order, End, Lifeline)> {
    let (order, mut files) = begin(handed)?;
    let line = Lifeline::of_descriptor(files.pop()?);
    let (region, _) = Region::attach(files.pop()?).ok()?;
    Some((order, End(region), line))
}

/// A session, as its keeper sees it.
struct Kept {
    link: Link,
    keys: Keys,
    lease: Duration,
    session: String,
}

impl Kept {
    /// Extends the session, and ends those of others that were not renewed in time. Returns `false` if it is lost.
    fn renew(&self, end: &End) -> Result<bool, CallError> {
        let asked = boot_nanos();
        let renew = line::renew(&self.keys, &self.session, self.lease.as_micros());
        let Item::Array(items) = self.link.script(&renew)? else { return Err(CallError::Protocol) };
        let mut items = items.into_iter();
        // Another run of Redis may have older data, in which others have what this session held.
        if items.next() != Some(Item::Int(1)) || self.link.restarts() > 0 {
            return Ok(false);
        }
        end.set(end_of(asked, self.lease));
        let until = Deadline::after(part_of(self.lease, ANSWERS_PER_LEASE));
        for other in items {
            if let Item::BulkString(other) = other
                && let Ok(other) = std::str::from_utf8(&other)
            {
                self.free(other, true, until)?;
            }
        }
        Ok(true)
    }

    /// Frees what a session held. Goes on until then; another renewal frees the rest.
    fn free(&self, session: &str, only_if_lost: bool, until: Deadline) -> Result<(), CallError> {
        loop {
            if until.has_passed() {
                return Ok(());
            }
            match self.link.script(&line::end(&self.keys, session, only_if_lost))? {
                Item::Array(left) if left != [Item::Int(0)] => {}
                _ => return Ok(()),
            }
        }
    }

    /// Ends the session. If Redis cannot be reached for some time, the lease ends it.
    fn end(&self) {
        let deadline = Deadline::after(self.lease.min(ANSWER_TIME_MAX));
        while let Err(error) = self.free(&self.session, false, Deadline::NEVER) {
            tracing::debug!(%error, "a session was not ended");
            if deadline.has_passed() || readable_later(&[], Deadline::after(PAUSE)).is_err() {
                return;
            }
        }
    }
}
