//! What the objects contain: reading all of it, and taking all of it out.

use crate::fuzzing::world::World;
use crate::proto::{
    Answer, ArrayOp, DictOp, EventOp, Fault, JoinableQueueOp, Kind, ListOp, LockOp, ManagerOp, NamespaceOp,
    ObjectId, Op, Part, Payload, QueueOp, Raw, Reply, ValueOp,
};

/// Returns the operations that read what an object of this kind contains, and take nothing.
const fn looks(kind: Kind) -> &'static [Op<Raw<'static>>] {
    match kind {
        Kind::List => const { &[Op::List(ListOp::Page { at: 0, max: u64::MAX })] },
        Kind::Dict => const { &[Op::Dict(DictOp::Page { after: None, max: u64::MAX, part: Part::Items })] },
        Kind::Namespace => const { &[Op::Namespace(NamespaceOp::Names)] },
        Kind::Value => const { &[Op::Value(ValueOp::Get)] },
        Kind::Array => const { &[Op::Array(ArrayOp::Read { at: 0, max: u64::MAX })] },
        Kind::Queue => const { &[Op::Queue(QueueOp::Len)] },
        Kind::JoinableQueue => {
            const {
                &[
                    Op::JoinableQueue(JoinableQueueOp::Len),
                    Op::JoinableQueue(JoinableQueueOp::Failed { at: 0, take: false }),
                ]
            }
        }
        Kind::Event => const { &[Op::Event(EventOp::IsSet)] },
        Kind::Manager
        | Kind::Lock
        | Kind::RLock
        | Kind::Semaphore
        | Kind::BoundedSemaphore
        | Kind::Condition
        | Kind::Barrier => &[],
    }
}

impl World {
    /// Returns `true` if an object has not ended.
    pub(super) fn is_alive(&mut self, object: ObjectId) -> bool {
        self.ask(object, Op::Lock(LockOp::IsLocked)) != Err(Fault::UnknownObject)
    }

    /// Returns the kind of an object, or `None` if it has ended.
    fn kind(&mut self, object: ObjectId) -> Option<Kind> {
        let kind = match self.kinds.get(&object) {
            Some(known) => *known,
            None => match self.ask(object, Op::Lock(LockOp::IsLocked)) {
                Ok(_) => Kind::Lock,
                Err(Fault::WrongKind { found }) => found,
                Err(_) => return None,
            },
        };
        self.kinds.insert(object, kind);
        Some(kind)
    }

    /// Returns the contents of all objects, as far as they can be read without taking anything. Versions may change.
    pub(super) fn snapshot(&mut self) -> Vec<Answer<Payload>> {
        let mut seen = Vec::new();
        for object in self.objects.clone() {
            for look in self.kind(object).map(looks).unwrap_or_default() {
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
        match self.kind(object) {
            Some(Kind::List) => drop(self.ask(object, Op::List(ListOp::Clear))),
            Some(Kind::Dict) => drop(self.ask(object, Op::Dict(DictOp::Clear))),
            Some(Kind::Value) => drop(self.ask(object, Op::Value(ValueOp::Set(nothing)))),
            Some(Kind::Array) => {
                if let Ok(Reply::Count(len)) = self.ask(object, Op::Array(ArrayOp::Len)) {
                    (0..len).for_each(|at| drop(self.ask(object, Op::Array(ArrayOp::Set(at, nothing)))));
                }
            }
            Some(Kind::Namespace) => {
                if let Ok(Reply::Names(names)) = self.ask(object, Op::Namespace(NamespaceOp::Names)) {
                    names.into_iter().for_each(|name| {
                        drop(self.ask(object, Op::Namespace(NamespaceOp::Delete { name })));
                    });
                }
            }
            Some(Kind::Queue) => while self.ask(object, Op::Queue(QueueOp::Get)).is_ok() {},
            Some(Kind::JoinableQueue) => {
                let tasks = |op| Op::JoinableQueue(op);
                while let Ok(Reply::Leased { lease, .. }) = self.ask(object, tasks(JoinableQueueOp::Get)) {
                    drop(self.ask(object, tasks(JoinableQueueOp::Done { lease })));
                }
                drop(self.ask(object, tasks(JoinableQueueOp::Failed { at: 0, take: true })));
            }
            _ => {}
        }
    }
}
