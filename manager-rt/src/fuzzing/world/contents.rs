//! What the objects contain: reading all of it, and taking all of it out.

use crate::fuzzing::world::World;
use crate::proto::{
    Answer, ArrayOp, DictOp, EventOp, JoinableQueueOp, ListOp, ManagerOp, NamespaceOp, ObjectId, Op, Part,
    Payload, QueueOp, Raw, Reply, ValueOp,
};

impl World {
    /// Returns the contents of all objects, as far as they can be read without taking anything. Versions may change.
    pub(super) fn snapshot(&mut self) -> Vec<Answer<Payload>> {
        let looks = [
            Op::List(ListOp::Page { at: 0, max: u64::MAX }),
            Op::Dict(DictOp::Page { after: None, max: u64::MAX, part: Part::Items }),
            Op::Namespace(NamespaceOp::Names),
            Op::Value(ValueOp::Get),
            Op::Array(ArrayOp::Read { at: 0, max: u64::MAX }),
            Op::Queue(QueueOp::Len),
            Op::JoinableQueue(JoinableQueueOp::Len),
            Op::JoinableQueue(JoinableQueueOp::Failed { at: 0, take: false }),
            Op::Event(EventOp::IsSet),
        ];
        let mut seen = Vec::new();
        for object in self.objects.clone() {
            for look in &looks {
                let mut answer = self.ask(object, look.clone());
                if let Ok(Reply::Values { version, .. }) = &mut answer {
                    *version = 0;
                }
                self.give_back(&answer);
                if answer.is_ok() {
                    seen.push(answer);
                }
            }
        }
        seen
    }

    /// Releases the references that came with an answer.
    fn give_back(&mut self, answer: &Answer<Payload>) {
        let mut references = Vec::new();
        if let Ok(reply) = answer {
            reply.each_value(&mut |value| references.extend(value.raw().objects().map(|object| (object, 1))));
        }
        if !references.is_empty() {
            let detach = ManagerOp::Detach { references, lingers: false };
            drop(self.ask(ObjectId::MANAGER, Op::Manager(detach)));
        }
    }

    /// Takes all values out of an object of any kind.
    pub(super) fn empty(&mut self, object: ObjectId) {
        let nothing = Raw::plain(b"");
        drop(self.ask(object, Op::List(ListOp::Clear)));
        drop(self.ask(object, Op::Dict(DictOp::Clear)));
        drop(self.ask(object, Op::Value(ValueOp::Set(nothing))));
        if let Ok(Reply::Count(len)) = self.ask(object, Op::Array(ArrayOp::Len)) {
            (0..len).for_each(|at| drop(self.ask(object, Op::Array(ArrayOp::Set(at, nothing)))));
        }
        if let Ok(Reply::Names(names)) = self.ask(object, Op::Namespace(NamespaceOp::Names)) {
            names.into_iter().for_each(|name| {
                drop(self.ask(object, Op::Namespace(NamespaceOp::Delete { name })));
            });
        }
        while self.ask(object, Op::Queue(QueueOp::Get)).is_ok() {}
        while let Ok(Reply::Leased { lease, .. }) = self.ask(object, Op::JoinableQueue(JoinableQueueOp::Get))
        {
            drop(self.ask(object, Op::JoinableQueue(JoinableQueueOp::Done { lease })));
        }
        drop(self.ask(object, Op::JoinableQueue(JoinableQueueOp::Failed { at: 0, take: true })));
    }
}
