//! `Namespace`: attributes by name, each with its own type.

use crate::count::count_of;
use crate::limits::ATTRIBUTES_MAX;
use crate::proto::{Answer, Fault, NamespaceOp, Payload, Raw, Reply};
use crate::state::contents::Attribute;
use crate::state::context::{Context, Core, DONE, check_name};
use crate::state::dict::{Key, emptied};
use crate::state::table::Table;
use crate::state::undo::{NamespaceUndo, Undo};

/// Attributes by name. The names are payloads, so that they are counted like values.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    attributes: Table<Payload, Attribute>,
}

impl NamespaceUndo {
    /// Commits the change: releases what it replaced. The names of inserted and replaced attributes are copies.
    pub(super) fn commit(self, core: &mut Core) {
        match self {
            Self::Inserted(_) => {}
            Self::Replaced(_, old) => core.let_go(old.value),
            Self::Removed(_, name, old) => {
                core.let_go(name);
                core.let_go(old.value);
            }
        }
    }
}

impl Namespace {
    pub(super) fn apply(&mut self, op: NamespaceOp<Raw<'_>>, context: &mut Context<'_>) -> Answer<Payload> {
        match op {
            NamespaceOp::Get { name, print } => {
                check(&name)?;
                let attribute = self.attributes.get(&key(&name)).ok_or(Fault::NotFound)?;
                if attribute.print != print {
                    return Err(Fault::WrongType);
                }
                Ok(Reply::Value(context.give(&attribute.value)))
            }
            NamespaceOp::Set { name, print, value } => {
                check(&name)?;
                let value = context.keep(value)?;
                self.set(&name, Attribute { print, value }, context)
            }
            NamespaceOp::Delete { name } => {
                check(&name)?;
                let (name, old, place) = self.attributes.remove(&key(&name)).ok_or(Fault::NotFound)?;
                context.note(Undo::Namespace(NamespaceUndo::Removed(place, name, old)));
                DONE
            }
            NamespaceOp::Names => {
                // Each name was a `String` when it arrived.
                let names = self.attributes.iter().map(|(name, _)| name.raw().bytes);
                Ok(Reply::Names(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()))
            }
        }
    }

    pub(super) fn undo(&mut self, undo: NamespaceUndo, core: &mut Core) {
        match undo {
            NamespaceUndo::Inserted(name) => {
                if let Some((name, new, _)) = self.attributes.remove(&name) {
                    core.let_go(name);
                    core.let_go(new.value);
                }
            }
            NamespaceUndo::Replaced(name, old) => {
                if let Some(attribute) = self.attributes.get_mut(&name) {
                    core.let_go(std::mem::replace(attribute, old).value);
                }
            }
            NamespaceUndo::Removed(place, name, old) => {
                if let Err((name, old)) = self.attributes.restore(place, name, old) {
                    core.let_go(name);
                    core.let_go(old.value);
                }
            }
        }
    }

    /// Returns the names and values.
    pub(super) fn values(&self) -> impl Iterator<Item = &Payload> {
        self.attributes.iter().flat_map(|(name, attribute)| [name, &attribute.value])
    }

    pub(super) fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Returns the attributes and their names, in order.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&Payload, &Attribute)> {
        self.attributes.iter()
    }

    /// Adds an attribute of a snapshot. Returns `false` if no attribute can have this name.
    pub(super) fn restore(&mut self, name: Payload, attribute: Attribute) -> bool {
        let is_good =
            name.is_plain() && std::str::from_utf8(name.raw().bytes).is_ok_and(|name| check(name).is_ok());
        is_good && matches!(self.attributes.insert(name, attribute), Ok(None))
    }

    /// Returns what the container takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.attributes.bytes()
    }

    /// Returns the names and values, so that they can be released.
    pub(super) fn into_values(self) -> impl Iterator<Item = Payload> + Send {
        emptied(self.attributes)
    }

    /// Sets an attribute whose value is already stored.
    fn set(&mut self, name: &str, new: Attribute, context: &mut Context<'_>) -> Answer<Payload> {
        if let Some((name, attribute)) = self.attributes.entry_mut(&key(name)) {
            let old = std::mem::replace(attribute, new);
            context.note(Undo::Namespace(NamespaceUndo::Replaced(name.clone(), old)));
            return DONE;
        }
        let kept = if self.attributes.len() < ATTRIBUTES_MAX {
            context.keep(Raw::plain(name.as_bytes()))
        } else {
            Err(Fault::TooMany { limit: count_of(ATTRIBUTES_MAX) })
        };
        let name = match kept {
            Ok(name) => name,
            Err(fault) => {
                context.let_go(new.value);
                return Err(fault);
            }
        };
        let copy = name.clone();
        if let Err((name, new)) = self.attributes.insert(name, new) {
            context.let_go(name);
            context.let_go(new.value);
            return Err(Fault::TooMany { limit: count_of(ATTRIBUTES_MAX) });
        }
        context.note(Undo::Namespace(NamespaceUndo::Inserted(copy)));
        DONE
    }
}

fn key(name: &str) -> Key<'_> {
    Key(Raw::plain(name.as_bytes()))
}

/// Checks the name of an attribute.
fn check(name: &str) -> Result<(), Fault> {
    check_name(name)?;
    if name.starts_with('_') {
        return Err(Fault::Unsupported);
    }
    Ok(())
}
