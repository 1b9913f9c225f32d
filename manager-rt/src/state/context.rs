//! What an operation may do besides changing its own object: count references and memory, wait, hold, deliver.

use bytes::Bytes;

use crate::limits::{NAME_BYTES_MAX, WAITING_CALLS_MAX};
use crate::proto::frame::{Answer, Wait};
use crate::proto::{Fault, ObjectId, Payload, Raw, Reply};
use crate::state::clients::{ClientId, Clients};
use crate::state::journal::{Journal, Undo};
use crate::state::memory::Memory;
use crate::state::registry::Registry;
use crate::state::waiters::{Line, Timer, Waiter, WaiterId, Waiters, Want};
use crate::state::{Answered, Caller, Limits};

/// What an operation led to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This answer.
    Answer(Answer<Payload>),
    /// The caller stands in a line.
    Parked,
}

impl From<Answer<Payload>> for Outcome {
    fn from(answer: Answer<Payload>) -> Self {
        Self::Answer(answer)
    }
}

/// All of a manager's state that is not inside of an object.
pub(super) struct Core {
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) clients: Clients,
    pub(super) waiters: Waiters,
    pub(super) journal: Journal,
    /// Objects whose lines have to be served.
    pub(super) touched: Vec<ObjectId>,
    pub(super) outbox: Vec<Answered>,
    /// The moment of the newest step, in nanoseconds.
    pub(super) now: u64,
    pub(super) memory: Memory,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            registry: Registry::default(),
            clients: Clients::default(),
            waiters: Waiters::default(),
            journal: Journal::default(),
            touched: Vec::new(),
            outbox: Vec::new(),
            now: 0,
            memory: Memory::default(),
        }
    }

    /// The lines of an object have to be served.
    pub(super) fn touch(&mut self, object: ObjectId) {
        if self.touched.last() != Some(&object) {
            self.touched.push(object);
        }
    }

    /// Answers a call.
    #[inline]
    pub(super) fn answer(&mut self, client: ClientId, call: u64, answer: Answer<Payload>) {
        if let Some(to) = self.clients.get_mut(client) {
            to.count_answer();
            self.outbox.push(Answered { client, call, answer });
        }
    }

    /// Takes the first of a line out of it, and out of the waiters.
    pub(super) fn next_of(&mut self, line: &mut Line) -> Option<Waiter> {
        while let Some(id) = line.pop_first() {
            if let Some(waiter) = self.take_waiter(id) {
                return Some(waiter);
            }
        }
        None
    }

    /// Takes a waiter out; its line still has it.
    pub(super) fn take_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(id)?;
        if let Some(client) = self.clients.get_mut(waiter.client) {
            client.remove_waiter(waiter.call);
        }
        Some(waiter)
    }

    /// Tells everybody in a line the same.
    pub(super) fn answer_all(&mut self, line: &mut Line, answer: &Answer<Payload>) {
        while let Some(waiter) = self.next_of(line) {
            if let Want::Room(items) = waiter.want {
                items.into_iter().for_each(|item| self.let_go(item));
            }
            self.answer(waiter.client, waiter.call, answer.clone());
        }
    }

    /// Whether one more call of a client may wait.
    ///
    /// # Errors
    /// [`Fault::TooMany`]; [`Fault::Malformed`] if a call of this number waits already: only one of them could be found again
    /// when the client goes. [`Fault::Unauthorised`] for a client that is gone, which asks for nothing.
    pub(super) fn may_wait(&mut self, client: ClientId, call: u64) -> Result<(), Fault> {
        let client = self.clients.get_mut(client).ok_or(Fault::Unauthorised)?;
        if client.waiting() >= WAITING_CALLS_MAX {
            let limit = WAITING_CALLS_MAX.try_into().unwrap_or(u64::MAX);
            return Err(Fault::TooMany { limit });
        }
        if client.waiter(call).is_some() { Err(Fault::Malformed) } else { Ok(()) }
    }

    /// Puts a call into a line.
    pub(super) fn park(
        &mut self,
        caller: (ClientId, u64, u64),
        object: ObjectId,
        want: Want,
        deadline: Option<u64>,
    ) -> Option<WaiterId> {
        let client = self.clients.get_mut(caller.0)?;
        let waiter = self.waiters.insert(caller, object, want, deadline);
        client.add_waiter(caller.1, waiter);
        Some(waiter)
    }

    /// A client may hold something of an object from now on.
    pub(super) fn hold(&mut self, client: ClientId, object: ObjectId) {
        if let Some(client) = self.clients.get_mut(client) {
            client.add_hold(object);
        }
    }

    /// A lock is to pass on at a moment.
    pub(super) fn set_lease(&mut self, at: u64, object: ObjectId, token: u64) {
        self.waiters.add_timer(at, Timer::Lease { object, token });
    }
}

/// Whose operation it is, on which object, and how long it may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) object: ObjectId,
    pub(super) thread: u64,
    pub(super) wait: Wait,
}

/// What one operation has around it.
#[derive(Debug)]
pub(super) struct Context<'s> {
    pub(super) core: &'s mut Core,
    pub(super) client: ClientId,
    pub(super) now: u64,
    pub(super) target: Target,
    pub(super) call: u64,
    frame: &'s Bytes,
}

impl<'s> Context<'s> {
    pub(super) fn new(core: &'s mut Core, caller: Caller<'s>, target: Target) -> Self {
        let Caller { client, call, now, frame, .. } = caller;
        Self { core, client, now, target, call, frame }
    }

    /// Takes a value into the manager's memory.
    ///
    /// # Errors
    /// [`Fault::TooLarge`], [`Fault::NoSpace`], [`Fault::UnknownObject`] for a proxy inside.
    #[inline]
    pub(super) fn keep(&mut self, raw: Raw<'_>) -> Result<Payload, Fault> {
        self.core.keep(Payload::of(raw, self.frame))
    }

    /// Takes several, or none.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub(super) fn keep_all(&mut self, raws: Vec<Raw<'_>>) -> Result<Vec<Payload>, Fault> {
        let mut kept = Vec::with_capacity(raws.len());
        for raw in raws {
            match self.keep(raw) {
                Ok(payload) => kept.push(payload),
                Err(fault) => {
                    kept.into_iter().for_each(|payload| self.core.let_go(payload));
                    return Err(fault);
                }
            }
        }
        Ok(kept)
    }

    /// Lets go of a value that was kept in this operation and not used.
    pub(super) fn let_go(&mut self, payload: Payload) {
        self.core.let_go(payload);
    }

    /// A copy of a kept value for the caller, who gets a reference to what is inside if its answer is no error.
    #[inline]
    pub(super) fn give(&mut self, payload: &Payload) -> Payload {
        if !payload.is_plain() {
            for object in payload.raw().objects() {
                if self.core.refer(self.client, object) {
                    self.core.journal.give(self.client, object);
                }
            }
        }
        payload.clone()
    }

    /// Notes how to take a change back. What the change replaced is let go of at the commit.
    #[inline]
    pub(super) fn note(&mut self, undo: Undo) {
        self.core.journal.push(self.target.object, undo);
    }

    /// The lines of this object are to be served after the commit.
    pub(super) fn touch(&mut self) {
        self.core.touch(self.target.object);
    }

    /// The caller may hold something of this object from now on.
    pub(super) fn hold(&mut self) {
        self.core.hold(self.client, self.target.object);
    }

    /// Lets the caller wait in a line, or refuses with `otherwise` if it does not want to wait.
    pub(super) fn park(&mut self, line: &mut Line, want: Want, otherwise: Fault) -> Outcome {
        match self.park_or(want, otherwise) {
            Ok(waiter) => {
                line.insert(waiter);
                Outcome::Parked
            }
            Err((want, fault)) => {
                if let Want::Room(items) = want {
                    items.into_iter().for_each(|item| self.core.let_go(item));
                }
                Outcome::Answer(Err(fault))
            }
        }
    }

    /// As [`park`](Self::park); the caller puts the waiter into its line.
    pub(super) fn park_or(&mut self, want: Want, otherwise: Fault) -> Result<WaiterId, (Want, Fault)> {
        let deadline = match self.target.wait {
            Wait::No => return Err((want, otherwise)),
            Wait::For(nanos) => Some(self.now.saturating_add(nanos)),
            Wait::Forever => None,
        };
        if let Err(fault) = self.core.may_wait(self.client, self.call) {
            return Err((want, fault));
        }
        let caller = (self.client, self.call, self.target.thread);
        match self.core.clients.get_mut(self.client) {
            Some(client) => {
                let waiter = self.core.waiters.insert(caller, self.target.object, want, deadline);
                client.add_waiter(caller.1, waiter);
                Ok(waiter)
            }
            None => Err((want, Fault::Unauthorised)),
        }
    }
}

/// Checks the name of an object or attribute.
///
/// # Errors
/// [`Fault::BadName`].
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Fault::BadName { limit: NAME_BYTES_MAX.try_into().unwrap_or(u64::MAX) });
    }
    Ok(())
}

/// Checks a number against its limits.
///
/// # Errors
/// [`Fault::OutOfRange`].
pub(super) fn check_range(number: u64, least: u64, most: u64) -> Result<(), Fault> {
    if (least..=most).contains(&number) { Ok(()) } else { Err(Fault::OutOfRange { least, most }) }
}

/// The answer that nothing but success is told.
pub(super) const DONE: Answer<Payload> = Ok(Reply::Done);
