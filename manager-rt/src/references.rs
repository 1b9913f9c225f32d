//! The number of proxies that this process has of each object.
//!
//! A manager counts one reference per process, however many proxies the process has. The first proxy requests the
//! reference, and the last one releases it. So cloning a proxy only changes a count in this table, and sends no
//! message.
//!
//! The manager counts by connection, so the table records on which connection each reference was requested. The numbers
//! of connections grow. A new connection requests everything in the table ([`References::ask_for_all`]). A caller that
//! adds a proxy requests the reference only if the newest connection has not done so.
//!
//! A manager without room may refuse references on a new connection. The objects are then *lacking*: the next call of each
//! of them requests its reference again, and fails if that is refused. Until nothing is lacking, this process keeps the
//! sockets that it inherited.
//!
//! # What a forked child inherits
//! Before a fork, the server makes a [bequest](crate::client::bequest) of all references, which lasts as long as any
//! process has a socket that children inherit. The table keeps that socket:
//! - The next fork uses the same bequest, unless there are new objects since.
//! - When the last proxy of an object in the bequest goes, this process closes its copy of the socket. From then on, only
//!   the children keep the bequest, and it ends with the last of them.
//! - A child closes its copies when it has requested its own references, or has no proxies any more.
//!
//! If the server refuses a bequest, it says so over the socket, or closes it without a word. Nobody takes that out of the
//! socket, so every process that holds it can see it: the parent, which tries again at the next fork, and lets objects linger
//! when it drops them; and a child that finds an object gone, which then knows why.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use mp_sys::deadline::Deadline;
use mp_sys::fork::forks;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::proto::{Disinherited, Fault, ObjectId};
use crate::wire::frame::{FAULT_BYTES_MAX, FrameKind, HEAD_BYTES, Head};

/// The proxies of one manager in this process.
#[derive(Debug, Default)]
pub(crate) struct References {
    table: Mutex<Table>,
    /// Whether something is lacking.
    is_lacking: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<ObjectId, Entry>,
    /// The objects of entries whose references the newest connection was refused.
    lacking: HashSet<ObjectId>,
    /// The number of entries that were ever made here.
    made: u64,
    /// The socket of the newest bequest, while it contains nothing that this process no longer has.
    bequest: Option<OwnedFd>,
    /// The newest bequest contains the entries with a lower number.
    bequeathed: u64,
    /// The value of [`forks`] after the last fork that had no bequest of everything.
    unprepared_fork: u64,
    /// Whether the newest fork had no bequest of everything.
    is_unprepared: bool,
    /// The sockets that this process inherited. The objects of its entries without a connection are in their bequests.
    inherited: Vec<OwnedFd>,
    /// Whether the parent of this process had no bequest of everything when it forked.
    was_unprepared: bool,
    /// The inherited objects that had ended before this process asked for its references, and why.
    disinherited: HashMap<ObjectId, Disinherited>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    count: u64,
    /// The connection on which the reference was requested; 0 for none.
    connection: u64,
    /// The number of this entry.
    number: u64,
    /// The value of [`forks`] when the first proxy was added.
    forks: u64,
}

/// What [`References::remove`] returns for the last proxy of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    /// The connection on which to release the reference; 0 for none.
    pub(crate) connection: u64,
    /// Whether a child may have a proxy that is in no bequest, and whose reference it has not requested yet.
    pub(crate) lingers: bool,
}

/// What has to be done before a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeforeFork {
    /// Nothing: no object is new since the last bequest.
    Nothing,
    /// The server has to make a bequest, for as many entries as were made so far.
    Bequeath(u64),
}

impl References {
    /// Makes the table of a forked child. The child has the same proxies, but has requested no references.
    ///
    /// If another thread of the parent was using the table during the fork, its contents are unknown. The child then
    /// starts with an empty table, and the objects that it inherited live only as long as other references exist.
    pub(crate) fn inherited(parents: &Self) -> Self {
        let Ok(mut parents) = parents.table.try_lock() else { return Self::default() };
        let mut entries = parents.entries.clone();
        entries.values_mut().for_each(|entry| entry.connection = 0);
        // This is the child's copy of the parent's table, and the sockets in it are the child's.
        let bequest = parents.bequest.take();
        let inherited = bequest.into_iter().chain(parents.inherited.drain(..)).collect();
        let made = parents.made;
        let was_unprepared = parents.is_unprepared || parents.was_unprepared;
        let table = Table { entries, made, inherited, was_unprepared, ..Table::default() };
        Self { table: Mutex::new(table), is_lacking: AtomicBool::new(false) }
    }

    /// Returns what has to be done before this process forks, or `None` if another thread uses the table until the
    /// deadline.
    pub(crate) fn before_fork(&self, deadline: Deadline) -> Option<BeforeFork> {
        let mut table = soon(&self.table, deadline)?;
        table.forget_ended();
        // What is lacking is in no new bequest.
        table.is_unprepared = !table.lacking.is_empty() && table.inherited.is_empty();
        let is_new = table.entries.values().any(|entry| entry.connection != 0)
            && (table.bequest.is_none() || table.bequeathed != table.made);
        Some(if is_new { BeforeFork::Bequeath(table.made) } else { BeforeFork::Nothing })
    }

    /// Records that a bequest of the entries with a lower number than `made` is about to be inherited, with this socket.
    pub(crate) fn bequeath(&self, made: u64, socket: OwnedFd) {
        let mut table = self.lock();
        table.bequeathed = made;
        // Earlier children have their own copies of the previous socket.
        drop(table.bequest.replace(socket));
    }

    /// Records that children of the fork that is about to happen have no bequest of everything.
    pub(crate) fn fork_unprepared(&self, deadline: Deadline) {
        if let Some(mut table) = soon(&self.table, deadline) {
            // A fork counts twice.
            table.unprepared_fork = forks().saturating_add(2);
            table.is_unprepared = true;
        }
    }

    /// Records that a new connection has requested all references, and that these objects had ended by then. Closes the
    /// sockets that this process inherited, unless something is lacking.
    pub(crate) fn has_own(&self, ended: Vec<ObjectId>) {
        let mut table = self.lock();
        table.have_ended(ended);
        let inherited = self.note_lacking(&mut table);
        drop(table);
        drop(inherited);
    }

    /// Records that a connection was refused the references to these objects.
    pub(crate) fn lack(&self, objects: impl IntoIterator<Item = ObjectId>, connection: u64) {
        let mut table = self.lock();
        let Table { entries, lacking, .. } = &mut *table;
        for object in objects {
            if let Some(entry) = entries.get_mut(&object).filter(|entry| entry.connection == connection) {
                entry.connection = 0;
                lacking.insert(object);
            }
        }
        self.is_lacking.store(!lacking.is_empty(), Ordering::Relaxed);
    }

    /// Returns `true` if something is lacking.
    #[inline]
    pub(crate) fn is_lacking(&self) -> bool {
        self.is_lacking.load(Ordering::Relaxed)
    }

    /// Returns `true` if an object is lacking and the caller has to request its reference on this connection.
    pub(crate) fn claim_lacking(&self, object: ObjectId, connection: u64) -> bool {
        let mut table = self.lock();
        let Table { entries, lacking, .. } = &mut *table;
        lacking.contains(&object) && entries.get_mut(&object).is_some_and(|entry| entry.claim(connection))
    }

    /// Records that an object is no longer lacking: its reference was granted on this connection, or it has ended. An answer over an
    /// earlier connection says nothing: the newest one has requested everything again, and may still be refused.
    pub(crate) fn has_regained(&self, object: ObjectId, connection: u64, has_ended: bool) {
        let mut table = self.lock();
        if table.entries.get(&object).is_none_or(|entry| entry.connection != connection) {
            return;
        }
        table.lacking.remove(&object);
        table.have_ended(has_ended.then_some(object));
        let inherited = self.note_lacking(&mut table);
        drop(table);
        drop(inherited);
    }

    /// Records that a connection could not request what [`ask_for_all`](Self::ask_for_all) returned.
    pub(crate) fn has_none(&self, connection: u64) {
        let mut table = self.lock();
        let of_it = table.entries.values_mut().filter(|entry| entry.connection == connection);
        of_it.for_each(|entry| entry.connection = 0);
    }

    /// Publishes whether something is lacking. Returns the inherited sockets if nothing is.
    fn note_lacking(&self, table: &mut Table) -> Vec<OwnedFd> {
        let is_lacking = !table.lacking.is_empty();
        self.is_lacking.store(is_lacking, Ordering::Relaxed);
        if is_lacking {
            return Vec::new();
        }
        table.was_unprepared = false;
        std::mem::take(&mut table.inherited)
    }

    /// Returns why this process has lost an object that it inherited, if that is known.
    #[cold]
    pub(crate) fn disinherited(&self, object: ObjectId) -> Option<Disinherited> {
        self.lock().disinherited.get(&object).copied()
    }

    /// Counts one more proxy if there is one already, and returns `true`. Then the caller has nothing to request:
    /// another thread has done it or is doing it, or the next connection will.
    pub(crate) fn add_another(&self, object: ObjectId) -> bool {
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(&object) else { return false };
        entry.count = entry.count.saturating_add(1);
        true
    }

    /// Counts one more proxy. Returns `true` if the caller has to request the reference on this connection.
    pub(crate) fn add(&self, object: ObjectId, connection: u64) -> bool {
        let mut table = self.lock();
        let Table { entries, made, .. } = &mut *table;
        let entry = entries.entry(object).or_insert_with(|| {
            *made = made.saturating_add(1);
            Entry { count: 0, connection: 0, number: made.saturating_sub(1), forks: forks() }
        });
        entry.count = entry.count.saturating_add(1);
        entry.claim(connection)
    }

    /// Returns `true` if the caller has to request the reference on this connection. Counts nothing.
    pub(crate) fn claim(&self, object: ObjectId, connection: u64) -> bool {
        self.lock().entries.get_mut(&object).is_some_and(|entry| entry.claim(connection))
    }

    /// Counts one proxy less. Returns what to release if it was the last.
    pub(crate) fn remove(&self, object: ObjectId) -> Option<Last> {
        let mut table = self.lock();
        let entry = table.entries.get_mut(&object)?;
        entry.count = entry.count.saturating_sub(1);
        let entry = *entry;
        if entry.count > 0 {
            return None;
        }
        table.entries.remove(&object);
        table.disinherited.remove(&object);
        table.forget_ended();
        let is_bequeathed = entry.number < table.bequeathed;
        let was_unprepared = entry.forks < table.unprepared_fork;
        let lingers = was_unprepared || (!is_bequeathed && entry.forks != forks());
        let is_empty = table.entries.is_empty();
        let bequest = if is_bequeathed || is_empty { table.bequest.take() } else { None };
        let was_lacking = table.lacking.remove(&object);
        let inherited = if is_empty || was_lacking { self.note_lacking(&mut table) } else { Vec::new() };
        drop(table);
        drop((bequest, inherited));
        Some(Last { connection: entry.connection, lingers })
    }

    /// Returns all objects that this process has proxies of, which a new connection has to request.
    pub(crate) fn ask_for_all(&self, connection: u64) -> Vec<ObjectId> {
        let mut table = self.lock();
        table.entries.values_mut().for_each(|entry| entry.connection = connection);
        table.lacking.clear();
        self.is_lacking.store(false, Ordering::Relaxed);
        table.entries.keys().copied().collect()
    }

    /// Returns those of `objects` that this process has no proxy of.
    pub(crate) fn missing(&self, objects: &[ObjectId]) -> Vec<ObjectId> {
        let table = self.lock();
        objects.iter().copied().filter(|object| !table.entries.contains_key(object)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks a mutex, or returns `None` if that takes too long: a fork in a signal handler may have interrupted the holder.
pub(crate) fn soon<T>(mutex: &Mutex<T>, deadline: Deadline) -> Option<MutexGuard<'_, T>> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
            Err(TryLockError::WouldBlock) if deadline.has_passed() => return None,
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

impl Table {
    /// Records that objects had ended before this process had references to them, and why, if that is known.
    fn have_ended(&mut self, objects: impl IntoIterator<Item = ObjectId>) {
        let ended_early = self.inherited.iter().find_map(end_of);
        if let Some(why) = ended_early.or_else(|| self.was_unprepared.then_some(Disinherited::NotAsked)) {
            self.disinherited.extend(objects.into_iter().map(|object| (object, why)));
        }
    }

    /// Forgets the newest bequest if the server has ended it. Its children have no bequest of everything.
    fn forget_ended(&mut self) {
        if self.bequest.as_ref().and_then(end_of).is_some() {
            self.bequest = None;
            self.bequeathed = 0;
            self.unprepared_fork = forks();
        }
    }
}

/// Returns how the server has ended the bequest of a socket, if it has. What it said stays in the socket.
fn end_of(socket: &OwnedFd) -> Option<Disinherited> {
    let mut bytes = [0; HEAD_BYTES + FAULT_BYTES_MAX];
    match recv(socket, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        // It says nothing but a refusal.
        Ok((len, _)) => Some(refusal(bytes.get(..len)?).map_or(Disinherited::Closed, Disinherited::Refused)),
        // It had not read all that was sent. Only one reader learns of that, and the others find the end.
        Err(Errno::CONNRESET) => Some(Disinherited::Closed),
        Err(_) => None,
    }
}

fn refusal(bytes: &[u8]) -> Option<Fault> {
    let (head, body) = bytes.split_first_chunk()?;
    let head = Head::of(head).filter(|head| head.kind == FrameKind::Fault)?;
    postcard::from_bytes(body.get(..usize::try_from(head.body_len).ok()?)?).ok()
}

impl Entry {
    const fn claim(&mut self, connection: u64) -> bool {
        let is_to_be_asked_for = self.connection < connection;
        if is_to_be_asked_for {
            self.connection = connection;
        }
        is_to_be_asked_for
    }
}

#[cfg(test)]
mod tests;
