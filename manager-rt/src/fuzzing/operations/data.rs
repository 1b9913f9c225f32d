//! Operations of the objects that hold values.

use crate::fuzzing::operations::Run;
use crate::proto::{ArrayOp, DictOp, ListOp, NamespaceOp, Part, Payload, Scan, ValueOp};

impl Run<'_> {
    pub(super) fn value_op(&mut self) -> ValueOp<Payload> {
        match self.source.below(5) {
            0 => ValueOp::Get,
            1 => ValueOp::Set(self.value()),
            2 => ValueOp::CompareExchange { expected: self.value(), new: self.value() },
            3 => ValueOp::Store(self.value()),
            _ => ValueOp::FetchAdd(self.number_to_add()),
        }
    }

    pub(super) fn array(&mut self) -> ArrayOp<Payload> {
        let at = self.little();
        match self.source.below(8) {
            0 => ArrayOp::Len,
            1 => ArrayOp::Get(at),
            2 => ArrayOp::Set(at, self.value()),
            3 => ArrayOp::Read { at, max: self.little() },
            4 => ArrayOp::Write { at, elements: self.values() },
            5 => ArrayOp::CompareExchange { at, expected: self.value(), new: self.value() },
            6 => ArrayOp::Store(at, self.value()),
            _ => ArrayOp::FetchAdd(at, self.number_to_add()),
        }
    }

    pub(super) fn list(&mut self) -> ListOp<Payload> {
        let at = self.little();
        match self.source.below(21) {
            0 | 1 => ListOp::Push(self.value()),
            2 => ListOp::Extend(self.values()),
            3 => ListOp::Get(at),
            4 => ListOp::Set(at, self.value()),
            5 => ListOp::Insert(at, self.value()),
            6 => ListOp::Remove(at),
            7 => ListOp::Pop,
            8 => ListOp::RemoveValue(self.scan()),
            9 => ListOp::IndexOf(self.scan()),
            10 => ListOp::Count(self.scan()),
            11 => ListOp::Len,
            12 => ListOp::Clear,
            13 => ListOp::Reverse,
            14 => ListOp::Swap(at, self.little()),
            15 => ListOp::Page { at, max: self.little() },
            16 | 17 => ListOp::CompareExchange { at, expected: self.value(), new: self.value() },
            18 => ListOp::Store(at, self.value()),
            19 => ListOp::Delete(at),
            _ => {
                let order = (0..self.source.below(4)).map(|_| self.little()).collect();
                ListOp::Reorder { version: self.source.small() % 16, order }
            }
        }
    }

    fn scan(&mut self) -> Scan<Payload> {
        let version = Some(self.source.small()).filter(|version| version % 3 == 0);
        Scan { value: self.value(), from: self.little(), version }
    }

    pub(super) fn dict(&mut self) -> DictOp<Payload> {
        let key = self.value();
        match self.source.below(18) {
            0 => DictOp::Get(key),
            1 | 2 => DictOp::Insert(key, self.value()),
            3 => DictOp::InsertNew(key, self.value()),
            4 | 5 => DictOp::Remove(key),
            6 => DictOp::Contains(key),
            7 => DictOp::GetOrInsert(key, self.value()),
            8 => DictOp::PopItem,
            9 => DictOp::Extend(vec![(key, self.value()), (self.value(), self.value())]),
            10 => DictOp::Len,
            11 => DictOp::Clear,
            12 => DictOp::FetchAdd(key, self.number_to_add()),
            13 => {
                let entries = vec![(key, self.number_to_add()), (self.value(), self.number_to_add())];
                DictOp::FetchAddMany(entries)
            }
            14 => DictOp::Store(key, self.value()),
            15 => DictOp::Delete(key),
            16 => {
                let mut option = || Some(self.value()).filter(|_| self.source.small().is_multiple_of(2));
                DictOp::CompareExchange { key, expected: option(), new: option() }
            }
            _ => {
                let after = Some(self.little()).filter(|after| *after > 0);
                DictOp::Page { after, max: self.little(), part: Part::Items }
            }
        }
    }

    pub(super) fn namespace(&mut self) -> NamespaceOp<Payload> {
        let (name, print) = (self.name(), self.source.small() / 200);
        match self.source.below(5) {
            0 => NamespaceOp::Names,
            1 => NamespaceOp::Delete { name },
            2 => NamespaceOp::Get { name, print },
            _ => NamespaceOp::Set { name, print, value: self.value() },
        }
    }
}
