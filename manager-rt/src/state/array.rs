//! `Array`: values by index. Their number is fixed when the array is made.
//!
//! Nevertheless they are stored in a `Sequence`, not in one `Vec`, so that an array of ten million elements can be
//! released in steps.
//!
//! Each operation that changes an array counts one change and makes one note, as in a list. Measured: 65,536 elements are
//! written in 2.2 ms. A longer array is made of a list that was filled in several operations.

use crate::count::{count_of, index_of};
use crate::limits::VALUES_AT_ONCE_MAX;
use crate::proto::{Answer, ArrayOp, Fault, Payload, Raw, Reply};
use crate::state::context::{Context, Core, DONE};
use crate::state::numbers;
use crate::state::page::Page;
use crate::state::sequence::Sequence;
use crate::state::undo::{ArrayUndo, Undo};

/// Values by index.
#[derive(Debug)]
pub(super) struct Array {
    elements: Sequence<Payload>,
    /// The number of changes so far.
    version: u64,
}

impl ArrayUndo {
    /// Commits the change: releases what it replaced.
    pub(super) fn commit(self, core: &mut Core) {
        match self {
            Self::Replaced(_, old) => core.let_go(old),
            Self::Written(_, old) => core.let_go_all(old),
        }
    }
}

impl Array {
    /// Makes an array of these elements. Either all of them are stored or none.
    ///
    /// # Errors
    /// [`Fault::TooMany`], and the errors of storing an element.
    pub(super) fn new(raws: Vec<Raw<'_>>, context: &mut Context<'_>) -> Result<Self, Fault> {
        if raws.len() > VALUES_AT_ONCE_MAX {
            return Err(Fault::TooMany { limit: count_of(VALUES_AT_ONCE_MAX) });
        }
        let mut elements = Sequence::new();
        for raw in raws {
            match context.keep(raw) {
                Ok(element) => elements.push(element),
                Err(fault) => {
                    let bytes = elements.bytes();
                    context.core.retire(Self { elements, version: 0 }.into_values(), bytes);
                    return Err(fault);
                }
            }
        }
        Ok(Self { elements, version: 0 })
    }

    /// Makes an array of the items of a list.
    pub(super) const fn of(elements: Sequence<Payload>) -> Self {
        Self { elements, version: 0 }
    }

    pub(super) fn apply(&mut self, op: ArrayOp<Raw<'_>>, context: &mut Context<'_>) -> Answer<Payload> {
        match op {
            ArrayOp::Len => Ok(Reply::Count(count_of(self.elements.len()))),
            ArrayOp::Get(at) => Ok(Reply::Value(context.give(self.element(at)?))),
            ArrayOp::Set(at, new) => {
                let old = context.give(self.element(at)?);
                let new = context.keep(new)?;
                self.replace(at, new, context)?;
                Ok(Reply::Value(old))
            }
            ArrayOp::Read { at, max } => self.read(at, max, context),
            ArrayOp::Write { at, elements } => self.write(at, elements, context),
            ArrayOp::CompareExchange { at, expected, new } => {
                let found = self.element(at)?;
                if found.raw() != expected {
                    return Ok(Reply::Found(Some(context.give(found))));
                }
                let new = context.keep(new)?;
                self.replace(at, new, context)?;
                Ok(Reply::Bool(true))
            }
            ArrayOp::Store(at, new) => {
                self.element(at)?;
                let new = context.keep(new)?;
                self.replace(at, new, context)?;
                DONE
            }
            ArrayOp::FetchAdd(at, number) => {
                let old = self.element(at)?;
                let sum = numbers::add(old.raw(), number)?;
                let old = context.give(old);
                let sum = context.keep(sum.raw())?;
                self.replace(at, sum, context)?;
                Ok(Reply::Before(old))
            }
        }
    }

    pub(super) fn undo(&mut self, undo: ArrayUndo, core: &mut Core) {
        self.version = self.version.wrapping_sub(1);
        let (at, old) = match undo {
            ArrayUndo::Replaced(at, old) => (at, vec![old]),
            ArrayUndo::Written(at, old) => (at, old),
        };
        self.exchange(at, old).into_iter().for_each(|new| core.let_go(new));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Payload> {
        self.elements.range(0, usize::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// Returns what the container takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.elements.bytes()
    }

    /// Returns the elements, so that they can be released.
    pub(super) fn into_values(self) -> impl Iterator<Item = Payload> + Send {
        let mut elements = self.elements;
        std::iter::from_fn(move || elements.pop())
    }

    fn read(&self, at: u64, max: u64, context: &mut Context<'_>) -> Answer<Payload> {
        if at > count_of(self.elements.len()) {
            return Err(self.no_element(at));
        }
        let mut page = Page::new(max);
        let elements = self.elements.range(index_of(at), usize::MAX);
        let elements = elements.take_while(|element| page.admits([*element]));
        let values = elements.map(|element| context.give(element)).collect();
        Ok(Reply::Values { values, version: self.version })
    }

    fn write(&mut self, at: u64, elements: Vec<Raw<'_>>, context: &mut Context<'_>) -> Answer<Payload> {
        if elements.len() > VALUES_AT_ONCE_MAX {
            return Err(Fault::TooMany { limit: count_of(VALUES_AT_ONCE_MAX) });
        }
        let len = count_of(self.elements.len());
        if at.saturating_add(count_of(elements.len())) > len {
            return Err(self.no_element(at.max(len)));
        }
        let new = context.keep_all(elements)?;
        let old = self.exchange(index_of(at), new);
        self.changed(ArrayUndo::Written(index_of(at), old), context);
        DONE
    }

    /// Replaces an element with another one that is already stored.
    fn replace(&mut self, at: u64, new: Payload, context: &mut Context<'_>) -> Result<(), Fault> {
        match self.elements.replace(index_of(at), new) {
            Ok(old) => {
                self.changed(ArrayUndo::Replaced(index_of(at), old), context);
                Ok(())
            }
            Err(new) => {
                context.let_go(new);
                Err(self.no_element(at))
            }
        }
    }

    /// Replaces elements from an index on, and returns the previous ones.
    fn exchange(&mut self, at: usize, elements: Vec<Payload>) -> Vec<Payload> {
        let places = at..;
        let exchanged = places.zip(elements).map(|(at, element)| {
            let (Ok(element) | Err(element)) = self.elements.replace(at, element);
            element
        });
        exchanged.collect()
    }

    fn element(&self, at: u64) -> Result<&Payload, Fault> {
        self.elements.get(index_of(at)).ok_or_else(|| self.no_element(at))
    }

    fn no_element(&self, index: u64) -> Fault {
        Fault::Index { index, len: count_of(self.elements.len()) }
    }

    /// Counts a change, and notes how to undo it.
    fn changed(&mut self, undo: ArrayUndo, context: &mut Context<'_>) {
        self.version = self.version.wrapping_add(1);
        context.note(Undo::Array(undo));
    }
}
