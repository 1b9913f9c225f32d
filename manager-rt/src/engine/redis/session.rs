//! [`Sessions`]: what this process holds in Redis, and until when.
//!
//! A process has a session for each client, which begins with the first call that takes something or waits. What it
//! takes belongs to the session. If the session is lost, the next one begins with nothing.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mp_sys::deadline::boot_nanos;
use mp_sys::fork::Generations;
use redis::Value as Item;

use super::command::Keys;
use super::keeper::{End, Keeper, Order, end_of};
use super::line;
use super::link::Link;
use super::run::Run;
use crate::backend::{CallError, Grants};
use crate::limits::DEPTH_MAX;
use crate::proto::{Fault, ObjectId};

/// How long a process takes it that the keeper of its session lives, in nanoseconds: to look costs a system call.
const LOOK_AGAIN_NANOS: u64 = 1_000_000;

/// What a client needs to begin sessions.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) lease: Duration,
    /// What each keeper receives, but for the session.
    pub(super) order: Order,
}

impl Terms {
    /// Returns what the keeper of a session receives.
    fn order_of(&self, session: &str, run: Option<Run>) -> Order {
        Order { session: session.to_owned(), run, ..self.order.clone() }
    }
}

/// The sessions of one client, one after another. A forked child has its own.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Generations<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Mutex<Current>,
    grants: Grants,
}

#[derive(Debug, Default)]
struct Current {
    session: Option<Arc<Session>>,
    /// The number of sessions so far.
    count: u64,
}

impl Sessions {
    fn state(&self) -> &State {
        self.state.get(|_| State::default())
    }

    /// What this process holds. The connections there are sessions.
    pub(super) fn grants(&self) -> &Grants {
        &self.state().grants
    }

    /// Returns the session of this process, after beginning one if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn get(&self, link: &Link, keys: &Keys, terms: &Terms) -> Result<Arc<Session>, CallError> {
        let mut current = lock(&self.state().current);
        if let Some(session) = &current.session {
            session.keep(terms)?;
            return Ok(Arc::clone(session));
        }
        current.count = current.count.saturating_add(1);
        let session = Arc::new(Session::begin(current.count, link, keys, terms)?);
        current.session = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Returns the session of this process, if it has one.
    pub(super) fn existing(&self) -> Option<Arc<Session>> {
        lock(&self.state.existing()?.current).session.clone()
    }

    /// Returns `true` if a session surely lives, and was not given up.
    pub(super) fn is_current(&self, session: &Session, link: &Link) -> bool {
        session.lives(link) && self.existing().is_some_and(|current| current.serial == session.serial)
    }

    /// Finds out whether the session is lost, and runs what the holders of locks asked for then.
    pub(super) fn check(&self, link: &Link) {
        if let Some(session) = self.existing().filter(|session| !session.lives(link)) {
            self.lose(session.serial);
        }
    }

    /// Gives up a session, and what it holds. Its keeper frees that, unless the session has ended already.
    pub(super) fn lose(&self, serial: u64) {
        let Some(state) = self.state.existing() else { return };
        let lost = lock(&state.current).session.take_if(|session| session.serial <= serial);
        if let Some(session) = lost {
            // Calls of it that wait keep it for a while.
            session.dismiss();
        }
        state.grants.lose(serial);
    }

    /// Gives up the session, if there is one.
    pub(super) fn end(&self) {
        if let Some(session) = self.existing() {
            self.lose(session.serial);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number of the next call. No two calls of a process have the same one, so a permit of a session that is lost is
/// not mistaken for one of the next session.
pub(super) fn next_call() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    CALLS.fetch_add(1, Ordering::Relaxed)
}

/// How often a thread has taken a lock.
#[derive(Debug)]
struct Depth {
    token: u64,
    depth: u64,
    /// Whether the lock was free when the thread took it.
    is_plain: bool,
}

/// What is left of a lock after one release.
#[derive(Debug)]
pub(super) enum Level {
    /// The thread still has it.
    Held,
    /// The thread gives it up.
    Last {
        /// Whether nobody waited for the lock when the thread took it, as far as this process knows.
        is_plain: bool,
    },
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its name in Redis.
    pub(super) name: String,
    /// Its number among the sessions of this client.
    pub(super) serial: u64,
    /// When it began, in microseconds of the clock of Redis.
    pub(super) begun: u64,
    end: End,
    /// The run of Redis in which it began, and the number of restarts that had been seen by then.
    run: Option<Run>,
    restarts: u64,
    keeper: Mutex<Keeper>,
    /// When this process looked whether the keeper lives.
    looked: AtomicU64,
    /// The objects that it has used.
    used: Mutex<HashSet<ObjectId>>,
    /// The locks of each thread.
    depths: Mutex<HashMap<(ObjectId, u64), Depth>>,
}

impl Session {
    fn begin(serial: u64, link: &Link, keys: &Keys, terms: &Terms) -> Result<Self, CallError> {
        let name = format!("{:016x}", super::random()? >> 64);
        let end = End::new()?;
        let asked = boot_nanos();
        let begun = link.script(&line::begin(keys, &name, terms.lease.as_micros()))?;
        let Item::Int(begun) = begun else { return Err(CallError::Protocol) };
        let begun = u64::try_from(begun).map_err(|_| CallError::Protocol)?;
        // In this order: if another run is reached meanwhile, the session counts as lost, and has nothing yet.
        let (restarts, run) = (link.restarts(), link.last_run());
        end.set(end_of(asked, terms.lease));
        let keeper = Mutex::new(Keeper::start(&terms.order_of(&name, run), &end)?);
        let (used, depths) = (Mutex::default(), Mutex::default());
        Ok(Self {
            name,
            serial,
            begun,
            end,
            run,
            restarts,
            keeper,
            looked: AtomicU64::new(asked),
            used,
            depths,
        })
    }

    /// Returns `true` if it surely lives, in the run of Redis in which it began: another one may have forgotten what it held.
    fn lives(&self, link: &Link) -> bool {
        self.end.is_ahead() && self.restarts == link.restarts()
    }

    /// Replaces a keeper that was killed.
    fn keep(&self, terms: &Terms) -> Result<(), CallError> {
        let now = boot_nanos();
        if now < self.looked.load(Ordering::Relaxed).saturating_add(LOOK_AGAIN_NANOS) {
            return Ok(());
        }
        self.looked.store(now, Ordering::Relaxed);
        let mut keeper = lock(&self.keeper);
        if keeper.has_ended() {
            *keeper = Keeper::start(&terms.order_of(&self.name, self.run), &self.end)?;
        }
        Ok(())
    }

    /// Returns the digits of the run of Redis in which it began, or nothing if Redis does not say which it was.
    pub(super) fn run_text(&self) -> String {
        self.run.as_ref().map(Run::to_string).unwrap_or_default()
    }

    /// Lets the keeper end the session.
    fn dismiss(&self) {
        lock(&self.keeper).dismiss();
    }

    /// Returns the name of the call with this number.
    pub(super) fn call(&self, number: u64) -> String {
        format!("{}.{number}", self.name)
    }

    /// Returns `true` if Redis may not know that the session uses an object.
    pub(super) fn is_new(&self, object: ObjectId) -> bool {
        !lock(&self.used).contains(&object)
    }

    /// Notes that Redis knows it.
    pub(super) fn uses(&self, object: ObjectId) {
        lock(&self.used).insert(object);
    }

    /// Notes that a thread has taken a lock once more.
    ///
    /// # Errors
    /// [`Fault::TooMany`].
    pub(super) fn deepen(
        &self,
        object: ObjectId,
        thread: u64,
        (token, is_plain): (u64, bool),
    ) -> Result<(), Fault> {
        let mut depths = lock(&self.depths);
        let depth = depths.entry((object, thread)).or_insert(Depth { token, depth: 0, is_plain });
        if depth.token != token {
            *depth = Depth { token, depth: 0, is_plain };
        }
        if depth.depth >= DEPTH_MAX {
            return Err(Fault::TooMany { limit: DEPTH_MAX });
        }
        depth.depth = depth.depth.saturating_add(1);
        Ok(())
    }

    /// Notes that a thread has taken a lock again that it had released at any depth.
    pub(super) fn exchange(&self, object: ObjectId, thread: u64, old: u64, token: u64) {
        let mut depths = lock(&self.depths);
        if let Some(depth) = depths.get_mut(&(object, thread)).filter(|depth| depth.token == old) {
            (depth.token, depth.is_plain) = (token, false);
        }
    }

    /// Notes that a thread gives a lock back once.
    pub(super) fn ascend(&self, object: ObjectId, thread: u64, token: u64) -> Level {
        let mut depths = lock(&self.depths);
        let Some(depth) = depths.get_mut(&(object, thread)).filter(|depth| depth.token == token) else {
            return Level::Last { is_plain: true };
        };
        depth.depth = depth.depth.saturating_sub(1);
        if depth.depth > 0 {
            return Level::Held;
        }
        let is_plain = depth.is_plain;
        depths.remove(&(object, thread));
        Level::Last { is_plain }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.dismiss();
    }
}
