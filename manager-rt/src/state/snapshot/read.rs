//! Restoring a snapshot.

use std::io::Read;

use bytes::Bytes;

use super::blocks::Reader;
use super::write::has_bound;
use super::{END, KINDS, OBJECT};
use crate::count::count_of;
use crate::limits::{
    ARRAY_ELEMENTS_MAX, ATTRIBUTES_MAX, FAILED_TASKS_MAX, NAME_BYTES_MAX, OBJECTS_MAX, VALUE_BYTES_MAX,
    VALUE_OBJECTS_MAX,
};
use crate::proto::{Kind, ObjectId, Payload, Raw};
use crate::state::array::Array;
use crate::state::barrier::Barrier;
use crate::state::bodies::Bodies;
use crate::state::contents::{Attribute, Task};
use crate::state::context::Core;
use crate::state::dict::Dict;
use crate::state::event::Event;
use crate::state::joinable_queue::JoinableQueue;
use crate::state::kinds::Body;
use crate::state::list::List;
use crate::state::lock::Lock;
use crate::state::manager::OBJECT_BYTES;
use crate::state::namespace::Namespace;
use crate::state::queue::Queue;
use crate::state::registry::Restored;
use crate::state::semaphore::Semaphore;
use crate::state::sequence::Sequence;
use crate::state::snapshot_fault::SnapshotFault;
use crate::state::value::Value;
use crate::state::waiters::Line;
use crate::state::{Limits, State};

/// After how many values the memory of their container is compared with the limit.
const VALUES_PER_CHECK: u64 = 4_096;

impl State {
    /// Makes a manager with the objects of a snapshot, which it reads to the end.
    ///
    /// # Errors
    /// [`SnapshotFault`].
    pub(crate) fn restore(limits: Limits, input: impl Read) -> Result<Self, SnapshotFault> {
        let mut state = Self::new(limits);
        let mut restoring = Restoring {
            input: Reader::new(input)?,
            core: &mut state.core,
            bodies: &mut state.bodies,
            value: Vec::new(),
            ids: Vec::new(),
        };
        let mark = restoring.input.u64()?;
        let mut entries: Vec<Restored> = Vec::new();
        loop {
            match restoring.input.u8()? {
                OBJECT => entries.push(restoring.object()?),
                END => break,
                _ => return Err(restoring.input.invalid()),
            }
        }
        let invalid = restoring.input.invalid();
        if restoring.input.u64()? != count_of(entries.len()) {
            return Err(invalid);
        }
        restoring.input.finish()?;
        state.core.registry.restore(entries, mark).ok_or(invalid)?;
        state.count_references().ok_or(invalid)?;
        Ok(state)
    }

    /// Counts the references inside all values. Returns `None` if one leads nowhere, or if an object has none.
    fn count_references(&mut self) -> Option<()> {
        let registry = &mut self.core.registry;
        let mut all_exist = true;
        for body in self.bodies.all() {
            let inside = body.values().filter(|value| !value.is_plain());
            inside.flat_map(|value| value.raw().objects()).for_each(|id| all_exist &= registry.retain(id, 1));
        }
        (all_exist && registry.all_are_referenced()).then_some(())
    }
}

/// What is needed to restore an object.
struct Restoring<'s, R> {
    input: Reader<R>,
    core: &'s mut Core,
    bodies: &'s mut Bodies,
    /// The bytes of the newest value.
    value: Vec<u8>,
    /// The ids inside it.
    ids: Vec<u8>,
}

impl<R: Read> Restoring<'_, R> {
    fn object(&mut self) -> Result<Restored, SnapshotFault> {
        let id = ObjectId(self.input.u64()?);
        let kind = *KINDS.get(usize::from(self.input.u8()?)).ok_or_else(|| self.input.invalid())?;
        let print = self.input.u64()?;
        let name = self.name()?;
        let entry = Restored::new(id, kind, print, name).ok_or_else(|| self.input.invalid())?;
        let slot = entry.slot();
        if slot >= OBJECTS_MAX || self.bodies.get(slot).is_some() {
            return Err(self.input.invalid());
        }
        let more = slot.saturating_add(1).saturating_sub(self.bodies.places());
        self.core.memory.account.check(more.saturating_mul(OBJECT_BYTES))?;
        let body = self.body(kind)?;
        self.core.memory.account.check(body.bytes())?;
        self.bodies.put(slot, body, &mut self.core.memory.containers);
        self.core.memory.places.set(self.bodies.places().saturating_mul(OBJECT_BYTES));
        Ok(entry)
    }

    fn name(&mut self) -> Result<Option<Box<str>>, SnapshotFault> {
        let len = usize::from(self.input.u16()?);
        if len > NAME_BYTES_MAX {
            return Err(self.input.invalid());
        }
        self.input.take_into(&mut self.value, len)?;
        let name = std::str::from_utf8(&self.value).map_err(|_| self.input.invalid())?;
        Ok((!name.is_empty()).then(|| name.into()))
    }

    fn flag(&mut self) -> Result<bool, SnapshotFault> {
        match self.input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.input.invalid()),
        }
    }

    fn value(&mut self) -> Result<Payload, SnapshotFault> {
        let len = usize::try_from(self.input.u32()?).unwrap_or(usize::MAX);
        let objects = usize::from(self.input.u16()?);
        if len > VALUE_BYTES_MAX || objects > VALUE_OBJECTS_MAX {
            return Err(self.input.invalid());
        }
        self.core.memory.account.check(len)?;
        self.input.take_into(&mut self.value, len)?;
        self.input.take_into(&mut self.ids, objects.saturating_mul(size_of::<ObjectId>()))?;
        let raw = Raw { bytes: &self.value, ids: &self.ids };
        Ok(Payload::charged(raw, &Bytes::new(), &self.core.memory.account)?)
    }

    /// Calls `add` as often as the number says that comes next, which may be at most `most`. It returns what the container
    /// takes, in bytes.
    fn several(
        &mut self,
        most: u64,
        mut add: impl FnMut(&mut Self) -> Result<usize, SnapshotFault>,
    ) -> Result<(), SnapshotFault> {
        let count = self.input.u64()?;
        if count > most {
            return Err(self.input.invalid());
        }
        for number in 0..count {
            let bytes = add(self)?;
            if number.is_multiple_of(VALUES_PER_CHECK) {
                self.core.memory.account.check(bytes)?;
            }
        }
        Ok(())
    }

    fn sequence(&mut self, most: u64) -> Result<Sequence<Payload>, SnapshotFault> {
        let mut items = Sequence::new();
        self.several(most, |from| {
            items.push(from.value()?);
            Ok(items.bytes())
        })?;
        Ok(items)
    }

    fn body(&mut self, kind: Kind) -> Result<Body, SnapshotFault> {
        Ok(match kind {
            Kind::Lock | Kind::RLock => {
                let newest = self.input.u64()?;
                Body::Lock(Lock::restored(kind == Kind::RLock, newest, self.flag()?))
            }
            Kind::Semaphore | Kind::BoundedSemaphore => {
                let bound = if has_bound(kind) { Some(self.input.u64()?) } else { None };
                Body::Semaphore(Semaphore::restored(bound, self.input.u64()?)?)
            }
            Kind::Condition => Body::Condition(Line::new()),
            Kind::Event => Body::Event(Event::restored(self.flag()?)),
            Kind::Barrier => {
                let (parties, round) = (self.input.u64()?, self.input.u64()?);
                Body::Barrier(Barrier::restored(parties, round, self.flag()?)?)
            }
            Kind::Queue => {
                let (capacity, is_closed) = (self.input.u64()?, self.flag()?);
                let mut queue = Queue::new(capacity)?;
                queue.fifo_mut().restore(self.sequence(u64::MAX)?, is_closed);
                Body::Queue(queue)
            }
            Kind::JoinableQueue => self.tasks()?,
            Kind::Array => Body::Array(Array::of(self.sequence(count_of(ARRAY_ELEMENTS_MAX))?)),
            Kind::List => {
                let mut list = List::default();
                self.several(u64::MAX, |from| {
                    let item = from.value()?;
                    list.items_mut().push(item);
                    Ok(list.bytes())
                })?;
                Body::List(list)
            }
            Kind::Dict => self.dict()?,
            Kind::Namespace => self.namespace()?,
            Kind::Value => match self.input.u64()? {
                1 => Body::Value(Value::new(self.value()?)),
                _ => return Err(self.input.invalid()),
            },
            // It has no number in a file.
            Kind::Manager => return Err(self.input.invalid()),
        })
    }

    fn tasks(&mut self) -> Result<Body, SnapshotFault> {
        let (capacity, is_closed) = (self.input.u64()?, self.flag()?);
        let max_deliveries = self.input.u32()?;
        let newest_lease = self.input.u64()?;
        let mut queue = JoinableQueue::new(capacity, max_deliveries)?;
        let mut tasks = Sequence::new();
        self.several(u64::MAX, |from| {
            let deliveries = from.input.u32()?;
            if deliveries >= max_deliveries {
                return Err(from.input.invalid());
            }
            tasks.push(Task { payload: from.value()?, deliveries });
            Ok(tasks.bytes())
        })?;
        queue.fifo_mut().restore(tasks, is_closed);
        let next_failed = self.input.u64()?;
        self.several(count_of(FAILED_TASKS_MAX), |from| {
            let number = from.input.u64()?;
            let task = from.value()?;
            if number >= next_failed || !queue.restore_failed(number, task) {
                return Err(from.input.invalid());
            }
            Ok(queue.bytes())
        })?;
        queue.restore_numbers(newest_lease, next_failed);
        Ok(Body::JoinableQueue(queue))
    }

    fn dict(&mut self) -> Result<Body, SnapshotFault> {
        let mut dict = Dict::default();
        // Keys and values are counted alike.
        let values = self.input.u64()?;
        if !values.is_multiple_of(2) {
            return Err(self.input.invalid());
        }
        for number in 0..values / 2 {
            let (key, value) = (self.value()?, self.value()?);
            if !dict.restore(key, value) {
                return Err(self.input.invalid());
            }
            if number.is_multiple_of(VALUES_PER_CHECK) {
                self.core.memory.account.check(dict.bytes())?;
            }
        }
        Ok(Body::Dict(dict))
    }

    fn namespace(&mut self) -> Result<Body, SnapshotFault> {
        let mut names = Namespace::default();
        self.several(count_of(ATTRIBUTES_MAX), |from| {
            let name = from.value()?;
            let print = from.input.u64()?;
            let value = from.value()?;
            if !names.restore(name, Attribute { print, value }) {
                return Err(from.input.invalid());
            }
            Ok(names.bytes())
        })?;
        Ok(Body::Namespace(names))
    }
}
