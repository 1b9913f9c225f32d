//! Writing a snapshot.

use std::io::{self, Write};

use super::blocks::Writer;
use super::{END, KINDS, OBJECT};
use crate::count::count_of;
use crate::proto::{Kind, ObjectId, Payload};
use crate::state::State;
use crate::state::bodies::Bodies;
use crate::state::kinds::Body;
use crate::state::registry::{Entry, Registry};

impl State {
    /// Writes what survives a restart. The state does not change meanwhile: the caller is its only user, or has a copy of it.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn save(&self, out: impl Write) -> io::Result<()> {
        let mut out = Writer::new(out)?;
        out.u64(self.core.registry.mark())?;
        let kept = kept(&self.core.registry, &self.bodies);
        let mut objects = 0_u64;
        for (slot, _) in kept.iter().enumerate().filter(|(_, is_kept)| **is_kept) {
            let Some((entry, body)) = self.core.registry.in_slot(slot).zip(self.bodies.get(slot)) else {
                continue;
            };
            objects = objects.saturating_add(1);
            write_object(&mut out, entry, body)?;
        }
        out.u8(END)?;
        out.u64(objects)?;
        out.finish()
    }
}

/// Returns which slots have an object that is saved: one with a name, or one to which a saved value refers.
fn kept(registry: &Registry, bodies: &Bodies) -> Vec<bool> {
    let mut kept = vec![false; bodies.places()];
    let mut open: Vec<usize> = Vec::new();
    let mut keep = |id: ObjectId, open: &mut Vec<usize>| {
        if let Some(slot) = registry.slot(id)
            && let Some(is_kept) = kept.get_mut(slot)
            && !std::mem::replace(is_kept, true)
        {
            open.push(slot);
        }
    };
    registry.named_objects().for_each(|id| keep(id, &mut open));
    while let Some(slot) = open.pop() {
        if let Some(body) = bodies.get(slot) {
            let inside = body.values().filter(|value| !value.is_plain());
            inside.flat_map(|value| value.raw().objects()).for_each(|id| keep(id, &mut open));
        }
    }
    kept
}

fn write_object<W: Write>(out: &mut Writer<W>, entry: &Entry, body: &Body) -> io::Result<()> {
    out.u8(OBJECT)?;
    out.u64(entry.id.0)?;
    let kind = KINDS.iter().position(|kind| *kind == body.kind());
    out.u8(kind.and_then(|kind| u8::try_from(kind).ok()).unwrap_or(u8::MAX))?;
    out.u64(entry.print)?;
    let name = entry.name.as_deref().unwrap_or_default();
    out.u16(u16::try_from(name.len()).unwrap_or(0))?;
    out.bytes(name.as_bytes())?;
    write_body(out, body)
}

fn write_body<W: Write>(out: &mut Writer<W>, body: &Body) -> io::Result<()> {
    match body {
        Body::Lock(lock) => {
            let (newest, owner_died) = lock.saved();
            out.u64(newest)?;
            out.u8(owner_died.into())
        }
        Body::Semaphore(semaphore) => {
            let (bound, free) = semaphore.saved();
            bound.map_or(Ok(()), |bound| out.u64(bound))?;
            out.u64(free)
        }
        Body::Condition(_) => Ok(()),
        Body::Event(event) => out.u8(event.is_set().into()),
        Body::Barrier(barrier) => {
            let (parties, round, is_broken) = barrier.saved();
            out.u64(parties)?;
            out.u64(round)?;
            out.u8(is_broken.into())
        }
        Body::Queue(queue) => {
            let fifo = queue.fifo();
            out.u64(fifo.capacity())?;
            out.u8(fifo.is_closed().into())?;
            write_values(out, fifo.len(), body)
        }
        Body::JoinableQueue(queue) => {
            let fifo = queue.fifo();
            out.u64(fifo.capacity())?;
            out.u8(fifo.is_closed().into())?;
            let saved = queue.saved();
            out.u32(saved.max_deliveries)?;
            out.u64(saved.newest_lease)?;
            out.u64(count_of(saved.back.len()).saturating_add(fifo.len()))?;
            let waiting = fifo.items.range(0, usize::MAX);
            for task in saved.back.into_iter().chain(waiting) {
                out.u32(task.deliveries)?;
                write_value(out, &task.payload)?;
            }
            out.u64(saved.next_failed)?;
            out.u64(count_of(saved.failed.len()))?;
            for (number, payload) in saved.failed {
                out.u64(number)?;
                write_value(out, payload)?;
            }
            Ok(())
        }
        Body::List(list) => {
            out.u64(count_of(list.items().len()))?;
            let mut outcome = Ok(());
            list.items().visit_from(0, |item| {
                outcome = write_value(out, item);
                outcome.is_ok()
            });
            outcome
        }
        Body::Array(array) => write_values(out, count_of(array.len()), body),
        // Keys and values in turn.
        Body::Dict(dict) => write_values(out, count_of(dict.len()).saturating_mul(2), body),
        Body::Value(_) => write_values(out, 1, body),
        Body::Namespace(names) => {
            let attributes = names.attributes();
            out.u64(count_of(names.len()))?;
            for (name, attribute) in attributes {
                write_value(out, name)?;
                out.u64(attribute.print)?;
                write_value(out, &attribute.value)?;
            }
            Ok(())
        }
    }
}

/// Writes the number of values of an object, and then the values, which are in order.
fn write_values<W: Write>(out: &mut Writer<W>, count: u64, body: &Body) -> io::Result<()> {
    out.u64(count)?;
    body.values().try_for_each(|value| write_value(out, value))
}

fn write_value<W: Write>(out: &mut Writer<W>, value: &Payload) -> io::Result<()> {
    let raw = value.raw();
    out.u32(u32::try_from(raw.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?)?;
    out.u16(u16::try_from(raw.objects().count()).map_err(|_| io::ErrorKind::InvalidInput)?)?;
    out.bytes(raw.bytes)?;
    out.bytes(raw.ids)
}

/// Whether a kind has a bound besides its permits.
pub(super) const fn has_bound(kind: Kind) -> bool {
    matches!(kind, Kind::BoundedSemaphore)
}
