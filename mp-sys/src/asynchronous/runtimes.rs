//! The runtimes of this process, and what is registered with each of them.
//!
//! A registration keeps the event loop of its runtime open. So it must not outlive the runtime: later, the process could not
//! fork, because it still had an event loop. Tokio has no hook for the end of a runtime, but it drops the tasks. So each runtime
//! gets one task that never ends. When it is dropped, so is everything that is registered with the runtime.
//!
//! The list also shows a forked child which runtimes belong to its parent.

use std::collections::HashMap;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, Id};

use super::RuntimeError;
use super::registered::Registered;
use crate::fork::{Epoch, PerProcess};

/// A child starts with its parent's list.
static RUNTIMES: PerProcess<HashMap<Id, Runtime>> = PerProcess::inherited();

/// What is known of a runtime.
#[derive(Debug)]
struct Runtime {
    epoch: Epoch,
    /// Whether anything was ever registered with it, and not only a timer used.
    has_event_loop: bool,
    registered: HashMap<Key, Arc<Registered>>,
}

/// Identifies a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// Drops everything that is registered with a runtime. The runtime's task owns it.
#[derive(Debug)]
struct Keeper(Id);

impl Drop for Keeper {
    fn drop(&mut self) {
        // Dropped after the lock is released.
        let _ended = RUNTIMES.lock_briefly().remove(&self.0);
    }
}

/// Returns the caller's runtime.
pub(super) fn current() -> Result<Handle, RuntimeError> {
    Handle::try_current().map_err(|_none| RuntimeError::NoRuntime)
}

/// Returns the caller's runtime, which is one of this process with a timer. It is in the list from then on.
pub(super) fn with_timer() -> Result<Id, RuntimeError> {
    let handle = current()?;
    let id = handle.id();
    // A runtime in the list has a timer.
    if !is_known(id)? {
        find_timer()?;
        enter(&handle);
    }
    Ok(id)
}

/// Returns whether the runtime, which was in the list, has not ended.
pub(super) fn is_running(id: Id) -> bool {
    RUNTIMES.lock_briefly().contains_key(&id)
}

/// Returns whether the runtime is in the list.
fn is_known(id: Id) -> Result<bool, RuntimeError> {
    match RUNTIMES.lock_briefly().get(&id) {
        Some(runtime) if runtime.has_event_loop && !runtime.epoch.is_current() => Err(RuntimeError::Forked),
        known => Ok(known.is_some()),
    }
}

/// Tokio panics if there is no timer. Only the attempt shows it.
fn find_timer() -> Result<(), RuntimeError> {
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).map_err(|_panic| RuntimeError::NoTime)
}

/// Registers something with the caller's runtime, which is `handle`, until [`forget`] is called or the runtime ends.
pub(super) fn register(
    handle: &Handle,
    make: impl FnOnce() -> Result<Registered, RuntimeError>,
) -> Result<(Key, Arc<Registered>), RuntimeError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = handle.id();
    let is_known = is_known(id)?;
    if !is_known {
        find_timer()?;
    }
    let registered = Arc::new(make()?);
    if !is_known {
        enter(handle);
    }
    let key = Key(NEXT.fetch_add(1, Ordering::Relaxed));
    match RUNTIMES.lock_briefly().get_mut(&id) {
        // The runtime has dropped the keeper.
        None => Err(RuntimeError::ShuttingDown),
        Some(runtime) => {
            runtime.has_event_loop = true;
            runtime.registered.insert(key, Arc::clone(&registered));
            Ok((key, registered))
        }
    }
}

/// Adds the runtime to the list, until it ends.
fn enter(handle: &Handle) {
    let id = handle.id();
    let mut runtimes = RUNTIMES.lock_briefly();
    if runtimes.contains_key(&id) {
        return;
    }
    let runtime = Runtime { epoch: Epoch::current(), has_event_loop: false, registered: HashMap::new() };
    runtimes.insert(id, runtime);
    drop(runtimes);
    let keeper = Keeper(id);
    // A runtime that is shutting down drops the future here.
    drop(handle.spawn(async move {
        let _keeper = keeper;
        std::future::pending::<()>().await;
    }));
}

/// Ends a registration. Tasks that still wait for it keep it until they look again.
pub(super) fn forget(id: Id, key: Key) {
    // Dropped after the lock is released.
    let _ended = RUNTIMES.lock_briefly().get_mut(&id).and_then(|runtime| runtime.registered.remove(&key));
}
