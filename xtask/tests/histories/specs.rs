//! The specifications of the objects, and how their operations and answers are written as words.

use std::collections::{BTreeMap, VecDeque};

use stateright::semantics::SequentialSpec;

use crate::record::{Spec, Word};

/// The base of the small numbers in a word; each number is smaller.
const BASE: u64 = 256;

fn pack(numbers: [u64; 4]) -> u64 {
    numbers.iter().rev().fold(0, |word, number| word * BASE + number)
}

fn unpack(word: u64) -> [u64; 4] {
    [word % BASE, word / BASE % BASE, word / BASE / BASE % BASE, word / BASE / BASE / BASE]
}

fn pack_option(option: Option<u64>) -> u64 {
    option.map_or(0, |number| number + 1)
}

fn unpack_option(number: u64) -> Option<u64> {
    number.checked_sub(1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum QueueOp {
    Put(u64),
    Get,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum QueueAnswer {
    Done,
    Full,
    Empty,
    Item(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct QueueSpec {
    pub(crate) items: VecDeque<u64>,
    pub(crate) capacity: usize,
}

impl SequentialSpec for QueueSpec {
    type Op = QueueOp;
    type Ret = QueueAnswer;

    fn invoke(&mut self, op: &QueueOp) -> QueueAnswer {
        match op {
            QueueOp::Put(_) if self.items.len() >= self.capacity => QueueAnswer::Full,
            QueueOp::Put(item) => {
                self.items.push_back(*item);
                QueueAnswer::Done
            }
            QueueOp::Get => self.items.pop_front().map_or(QueueAnswer::Empty, QueueAnswer::Item),
        }
    }
}

impl Spec for QueueSpec {
    fn death(_: u64) -> Option<QueueOp> {
        None
    }
}

impl Word for QueueOp {
    fn to_word(&self) -> u64 {
        match self {
            Self::Get => 1,
            Self::Put(item) => item + 2,
        }
    }

    fn from_word(word: u64) -> Self {
        if word == 1 { Self::Get } else { Self::Put(word - 2) }
    }
}

impl Word for QueueAnswer {
    fn to_word(&self) -> u64 {
        match self {
            Self::Done => 1,
            Self::Full => 2,
            Self::Empty => 3,
            Self::Item(item) => item + 4,
        }
    }

    fn from_word(word: u64) -> Self {
        match word {
            1 => Self::Done,
            2 => Self::Full,
            3 => Self::Empty,
            item => Self::Item(item - 4),
        }
    }
}

/// Operations of a queue whose consumers are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TakenOp {
    Put(u64, u64),
    Get(u64),
    Die(u64),
}

/// A queue that takes an item back if its consumer dies before it does anything else: nobody knows whether it has read the item. So
/// what a death does may also never happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TakenSpec {
    pub(crate) queue: QueueSpec,
    taken: BTreeMap<u64, u64>,
}

impl TakenSpec {
    pub(crate) const fn of(queue: QueueSpec) -> Self {
        Self { queue, taken: BTreeMap::new() }
    }
}

impl SequentialSpec for TakenSpec {
    type Op = TakenOp;
    type Ret = QueueAnswer;

    fn invoke(&mut self, op: &TakenOp) -> QueueAnswer {
        let (TakenOp::Put(process, _) | TakenOp::Get(process) | TakenOp::Die(process)) = *op;
        let taken = self.taken.remove(&process);
        match *op {
            TakenOp::Put(_, item) => self.queue.invoke(&QueueOp::Put(item)),
            TakenOp::Get(_) => {
                let answer = self.queue.invoke(&QueueOp::Get);
                if let QueueAnswer::Item(item) = answer {
                    self.taken.insert(process, item);
                }
                answer
            }
            TakenOp::Die(_) => {
                taken.into_iter().for_each(|item| self.queue.items.push_front(item));
                QueueAnswer::Done
            }
        }
    }
}

impl Spec for TakenSpec {
    fn death(process: u64) -> Option<TakenOp> {
        Some(TakenOp::Die(process))
    }
}

impl Word for TakenOp {
    fn to_word(&self) -> u64 {
        match *self {
            Self::Put(process, item) => pack([0, process, item, 0]),
            Self::Get(process) => pack([1, process, 0, 0]),
            Self::Die(process) => pack([2, process, 0, 0]),
        }
    }

    fn from_word(word: u64) -> Self {
        match unpack(word) {
            [0, process, item, _] => Self::Put(process, item),
            [1, process, ..] => Self::Get(process),
            [_, process, ..] => Self::Die(process),
        }
    }
}

/// Operations of a dict, and of a value, which counts as one key of a dict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DictOp {
    Get(u64),
    Set(u64, u64),
    CompareExchange(u64, Option<u64>, Option<u64>),
    Add(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DictAnswer {
    Done,
    Found(Option<u64>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct DictSpec(pub(crate) BTreeMap<u64, u64>);

impl SequentialSpec for DictSpec {
    type Op = DictOp;
    type Ret = DictAnswer;

    fn invoke(&mut self, op: &DictOp) -> DictAnswer {
        match *op {
            DictOp::Get(key) => DictAnswer::Found(self.0.get(&key).copied()),
            DictOp::Set(key, value) => {
                self.0.insert(key, value);
                DictAnswer::Done
            }
            DictOp::CompareExchange(key, expected, new) => {
                let found = self.0.get(&key).copied();
                if found != expected {
                    return DictAnswer::Found(found);
                }
                match new {
                    Some(new) => self.0.insert(key, new),
                    None => self.0.remove(&key),
                };
                DictAnswer::Done
            }
            DictOp::Add(key) => {
                let number = self.0.entry(key).or_default();
                *number += 1;
                DictAnswer::Found(Some(*number - 1))
            }
        }
    }
}

impl Spec for DictSpec {
    fn death(_: u64) -> Option<DictOp> {
        None
    }
}

impl Word for DictOp {
    fn to_word(&self) -> u64 {
        match *self {
            Self::Get(key) => pack([0, key, 0, 0]),
            Self::Set(key, value) => pack([1, key, value, 0]),
            Self::CompareExchange(key, expected, new) => {
                pack([2, key, pack_option(expected), pack_option(new)])
            }
            Self::Add(key) => pack([3, key, 0, 0]),
        }
    }

    fn from_word(word: u64) -> Self {
        match unpack(word) {
            [0, key, ..] => Self::Get(key),
            [1, key, value, _] => Self::Set(key, value),
            [2, key, expected, new] => {
                Self::CompareExchange(key, unpack_option(expected), unpack_option(new))
            }
            [_, key, ..] => Self::Add(key),
        }
    }
}

impl Word for DictAnswer {
    fn to_word(&self) -> u64 {
        match *self {
            Self::Done => 0,
            Self::Found(found) => pack([1, pack_option(found), 0, 0]),
        }
    }

    fn from_word(word: u64) -> Self {
        match unpack(word) {
            [0, ..] => Self::Done,
            [_, found, ..] => Self::Found(unpack_option(found)),
        }
    }
}

/// Operations on a lock, each with the process that performs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LockOp {
    TryLock(u64),
    Unlock(u64),
    /// The kernel closes the connection of a dead process.
    Die(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LockAnswer {
    Done,
    Locked,
    OwnerDied,
    Busy,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct LockSpec {
    holder: Option<u64>,
    owner_died: bool,
}

impl SequentialSpec for LockSpec {
    type Op = LockOp;
    type Ret = LockAnswer;

    fn invoke(&mut self, op: &LockOp) -> LockAnswer {
        match *op {
            LockOp::TryLock(_) if self.holder.is_some() => LockAnswer::Busy,
            LockOp::TryLock(process) => {
                self.holder = Some(process);
                if std::mem::take(&mut self.owner_died) { LockAnswer::OwnerDied } else { LockAnswer::Locked }
            }
            LockOp::Unlock(process) => {
                // A killed process may have asked for the lock, and may be dead before the operation is done.
                if self.holder == Some(process) {
                    self.holder = None;
                }
                LockAnswer::Done
            }
            LockOp::Die(process) => {
                if self.holder == Some(process) {
                    self.holder = None;
                    self.owner_died = true;
                }
                LockAnswer::Done
            }
        }
    }
}

impl Spec for LockSpec {
    fn death(process: u64) -> Option<LockOp> {
        Some(LockOp::Die(process))
    }
}

/// A lock whose server is restarted: nobody has it beside another. A call whose answer was lost may have taken the lock, and asks again as
/// another one. So the lock can be busy, and its holder dead, without a call that says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct ExclusiveSpec(LockSpec);

impl SequentialSpec for ExclusiveSpec {
    type Op = LockOp;
    type Ret = LockAnswer;

    fn invoke(&mut self, op: &LockOp) -> LockAnswer {
        self.0.invoke(op)
    }

    fn is_valid_step(&mut self, op: &LockOp, answer: &LockAnswer) -> bool {
        if *answer == LockAnswer::Busy {
            return true;
        }
        let found = self.invoke(op);
        found == *answer || (found, *answer) == (LockAnswer::Locked, LockAnswer::OwnerDied)
    }
}

impl Spec for ExclusiveSpec {
    fn death(process: u64) -> Option<LockOp> {
        LockSpec::death(process)
    }
}

impl Word for LockOp {
    fn to_word(&self) -> u64 {
        match *self {
            Self::TryLock(process) => pack([0, process, 0, 0]),
            Self::Unlock(process) => pack([1, process, 0, 0]),
            Self::Die(process) => pack([2, process, 0, 0]),
        }
    }

    fn from_word(word: u64) -> Self {
        match unpack(word) {
            [0, process, ..] => Self::TryLock(process),
            [1, process, ..] => Self::Unlock(process),
            [_, process, ..] => Self::Die(process),
        }
    }
}

impl Word for LockAnswer {
    fn to_word(&self) -> u64 {
        match self {
            Self::Done => 0,
            Self::Locked => 1,
            Self::OwnerDied => 2,
            Self::Busy => 3,
        }
    }

    fn from_word(word: u64) -> Self {
        match word {
            0 => Self::Done,
            1 => Self::Locked,
            2 => Self::OwnerDied,
            _ => Self::Busy,
        }
    }
}
