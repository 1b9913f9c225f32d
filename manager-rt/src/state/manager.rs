//! Operations of the manager itself: objects, names, references.

use crate::count::{count_of, index_of, nanos_of};
use crate::limits::{
    OBJECTS_MAX, PAGE_BYTES, PAGE_ITEMS_MAX, REFERENCES_AT_ONCE_MAX, TAKEN_CALLS_MAX, TRANSIT_GRACE,
};
use crate::proto::{Answer, Fault, ManagerOp, ObjectId, Payload, Raw, Reply, Spec, Wait};
use crate::state::bodies::PLACE_BYTES;
use crate::state::charges::REFERENCE_BYTES;
use crate::state::context::{Context, DONE, Outcome, Target, check_name};
use crate::state::kinds::{Body, reports};
use crate::state::registry::{ENTRY_BYTES, name_bytes};
use crate::state::step::ClientId;
use crate::state::unfinished::{Listing, NAME_OVERHEAD_BYTES, Rest};
use crate::state::{Caller, Effects, Heard, State};
use crate::wire::control::Control;

/// An object takes this many bytes without what it contains.
pub(super) const OBJECT_BYTES: usize = PLACE_BYTES + ENTRY_BYTES;

impl State {
    /// Runs an operation of the manager. One that concerns many objects may go on in later steps.
    pub(super) fn run_manager(&mut self, caller: Caller<'_>, op: ManagerOp<Raw<'_>>) -> Outcome {
        let rest = match op {
            ManagerOp::Attach(objects) => self.attach(caller, objects),
            ManagerOp::Detach { references, lingers } => check_count(references.len())
                .map(|()| Rest::Detach { references: references.into_iter(), lingers }),
            ManagerOp::Transit(objects) => {
                check_count(objects.len()).map(|()| Rest::Transit(objects.into_iter()))
            }
            ManagerOp::Bequeath { bequest } => self.bequeath(caller, bequest),
            ManagerOp::Names => Ok(Rest::Names(Listing::default())),
            ManagerOp::Snapshot { path } => return self.ask_for_snapshot(caller, path),
            ManagerOp::Shutdown => return self.ask_to_end(caller),
            op => return self.run_at_once(caller, op).into(),
        };
        match rest {
            Ok(rest) => self.run_in_steps(caller, rest),
            Err(fault) => Outcome::Answer(Err(fault)),
        }
    }

    fn run_at_once(&mut self, caller: Caller<'_>, op: ManagerOp<Raw<'_>>) -> Answer<Payload> {
        if let Some(client) = self.core.clients.get_mut(caller.client) {
            client.looks = client.looks.wrapping_add(u64::from(reports(&op)));
            client.introductions =
                client.introductions.wrapping_add(u64::from(matches!(op, ManagerOp::Succeed { .. })));
        }
        match op {
            ManagerOp::Create { spec, print } => {
                let id = self.create(caller, spec, print)?;
                self.refer_caller(caller, id, true)
            }
            ManagerOp::Open { name, spec, print } => self.open(caller, &name, spec, print),
            ManagerOp::Remove { name } => {
                let id = self.core.registry.named(&name).ok_or(Fault::UnknownName)?;
                self.end_object(id);
                DONE
            }
            ManagerOp::Succeed { session, serial } => {
                self.core.sessions.begin(session, serial, caller.client).and(DONE)
            }
            ManagerOp::NamesAfter { name } => Ok(Reply::Names(self.names_after(&name))),
            // These go on in steps.
            ManagerOp::Attach(_)
            | ManagerOp::Detach { .. }
            | ManagerOp::Transit(_)
            | ManagerOp::Bequeath { .. }
            | ManagerOp::Names
            | ManagerOp::Snapshot { .. }
            | ManagerOp::Shutdown => Err(Fault::Unsupported),
            ManagerOp::Info => Ok(Reply::Info(self.info())),
            op @ (ManagerOp::Server
            | ManagerOp::Clients { .. }
            | ManagerOp::Objects { .. }
            | ManagerOp::Object { .. }
            | ManagerOp::Waits { .. }) => self.report(&op),
        }
    }

    /// Does what a client asked about its own calls, and confirms that if it waits for an answer.
    pub fn control(
        &mut self,
        caller: Caller<'_>,
        control: Control,
        is_answered: bool,
        effects: &mut Effects,
    ) -> Heard {
        self.begin(caller.now);
        match control {
            Control::Cancel { call } | Control::Reject { call }
                if self.any_is_held_up(caller.client, call) =>
            {
                return Heard::Unsettled;
            }
            Control::Cancel { call } => self.give_up(caller.client, call),
            Control::Reject { call } => self.reject(caller.client, call),
            Control::Ping => {}
            Control::Taken { first, last } => {
                if self.is_unfinished(caller.client) {
                    return Heard::Unsettled;
                }
                let last = last.min(first.saturating_add(TAKEN_CALLS_MAX.saturating_sub(1)));
                if matches!(self.run_in_steps(caller, Rest::Taken(first..=last)), Outcome::Parked) {
                    return self.confirm_later(caller.client, is_answered, effects);
                }
            }
        }
        if is_answered {
            self.core.answer(caller.client, caller.call, DONE);
        }
        self.settle(effects);
        Heard::Done
    }

    fn confirm_later(&mut self, client: ClientId, is_answered: bool, effects: &mut Effects) -> Heard {
        if !is_answered && let Some(client) = self.core.clients.get_mut(client) {
            client.expects_no_answer();
        }
        self.settle(effects);
        Heard::Done
    }

    /// Returns `true` if a call waits for an object that is held up, or was granted something of one.
    fn any_is_held_up(&mut self, client: ClientId, call: u64) -> bool {
        let Some(client) = self.core.clients.get_mut(client) else { return false };
        // All of them are looked at, here and when they are taken back.
        self.core.work.charge(client.granted());
        let waiter = client.waiter(call);
        let mut objects: Vec<_> = client.unread_of(call).collect();
        objects.extend(waiter.and_then(|waiter| self.core.waiters.get(waiter)).map(|waits| waits.object));
        objects.into_iter().any(|object| self.is_held_up(object))
    }

    /// Makes an object without references.
    fn create(&mut self, caller: Caller<'_>, spec: Spec<Raw<'_>>, print: u64) -> Result<ObjectId, Fault> {
        // The last check comes before the first change.
        if self.core.registry.next_slot() >= self.bodies.places() {
            self.core.memory.account.check(OBJECT_BYTES)?;
        }
        self.core.check_records(caller.client, REFERENCE_BYTES)?;
        let too_many = Fault::TooMany { limit: count_of(OBJECTS_MAX) };
        if self.core.registry.len() >= OBJECTS_MAX {
            return Err(too_many);
        }
        let kind = spec.kind();
        let target = Target { object: ObjectId::MANAGER, thread: 0, wait: Wait::No };
        let body = match spec {
            Spec::ArrayOf(list) => Body::Array(self.array_of(list)?),
            spec => Body::new(spec, &mut Context::new(&mut self.core, caller, target))?,
        };
        match self.core.registry.insert(kind, print) {
            Some((slot, id)) => {
                self.bodies.put(slot, body, &mut self.core.memory.containers);
                self.core.memory.places.set(self.bodies.places().saturating_mul(OBJECT_BYTES));
                Ok(id)
            }
            None => {
                body.end(&mut self.core);
                Err(too_many)
            }
        }
    }

    fn open(&mut self, caller: Caller<'_>, name: &str, spec: Spec<Raw<'_>>, print: u64) -> Answer<Payload> {
        check_name(name)?;
        if let Some(id) = self.core.registry.named(name) {
            let entry = self.core.registry.entry(id).ok_or(Fault::UnknownObject)?;
            if entry.kind != spec.kind() {
                return Err(Fault::WrongKind { found: entry.kind });
            }
            if entry.print != print {
                return Err(Fault::WrongType);
            }
            let has_one = self.core.clients.get(caller.client).is_some_and(|client| client.has_reference(id));
            if !has_one {
                self.core.check_records(caller.client, REFERENCE_BYTES)?;
            }
            return self.refer_caller(caller, id, false);
        }
        self.core.memory.account.check(name_bytes(name))?;
        let id = self.create(caller, spec, print)?;
        self.core.registry.name(id, name);
        self.refer_caller(caller, id, true)
    }

    /// Returns a page of names.
    fn names_after(&self, name: &str) -> Vec<String> {
        let mut bytes = 0_usize;
        let names = self.core.registry.names_after(name).take_while(|name| {
            bytes = bytes.saturating_add(name.len()).saturating_add(NAME_OVERHEAD_BYTES);
            bytes <= PAGE_BYTES
        });
        names.take(index_of(PAGE_ITEMS_MAX)).map(str::to_owned).collect()
    }

    fn refer_caller(&mut self, caller: Caller<'_>, id: ObjectId, created: bool) -> Answer<Payload> {
        if self.core.refer(caller.client, id) {
            Ok(Reply::Object { id, created })
        } else {
            Err(Fault::UnknownObject)
        }
    }

    /// Begins to add all of these references, or none.
    fn attach(&mut self, caller: Caller<'_>, objects: Vec<ObjectId>) -> Result<Rest, Fault> {
        check_count(objects.len())?;
        let bytes = objects.len().saturating_mul(REFERENCE_BYTES).saturating_add(size_of_val(&*objects));
        self.core.check_records(caller.client, bytes)?;
        Ok(Rest::Attach { objects, done: 0 })
    }

    /// Ends an object, and answers all its waiters.
    pub(super) fn end_object(&mut self, id: ObjectId) {
        let Some(slot) = self.core.registry.remove(id, &mut self.core.waiters) else { return };
        if let Some(body) = self.bodies.take(slot, &mut self.core.memory.containers) {
            body.end(&mut self.core);
        }
        if self.bodies.shrink() {
            self.core.registry.shrink();
            self.core.memory.places.set(self.bodies.places().saturating_mul(OBJECT_BYTES));
        }
    }

    /// Keeps an object alive for a while, as it may have no other reference.
    pub(super) fn hold_in_transit(&mut self, object: ObjectId) {
        let ends = self.core.after(nanos_of(TRANSIT_GRACE));
        self.core.registry.begin_transit(object, ends, &mut self.core.waiters);
    }
}

fn check_count(count: usize) -> Result<(), Fault> {
    if count <= REFERENCES_AT_ONCE_MAX {
        Ok(())
    } else {
        Err(Fault::TooMany { limit: count_of(REFERENCES_AT_ONCE_MAX) })
    }
}
