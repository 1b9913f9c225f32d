//! What moves between two lists, or from a list into an array: the pieces of long operations.
//!
//! Sorting a long list, or making a long array, would take too long for one step. So the client collects the result in a
//! list that nobody else knows, in several operations. The last one puts it in place at once.

use crate::count::{count_of, index_of};
use crate::limits::{ARRAY_ELEMENTS_MAX, ORDER_ITEMS_MAX};
use crate::proto::{Answer, Fault, ListOp, ObjectId, Payload, Raw};
use crate::state::array::Array;
use crate::state::context::{Context, DONE, Target};
use crate::state::kinds::Body;
use crate::state::list::List;
use crate::state::work::ENTRY;
use crate::state::{Caller, State};

impl State {
    /// Runs an operation on two lists. Returns `None` for any other one.
    pub(super) fn run_exchange(
        &mut self,
        caller: Caller<'_>,
        target: Target,
        op: &ListOp<Raw<'_>>,
    ) -> Option<Answer<Payload>> {
        match op {
            ListOp::Gather { from, version, order } => {
                Some(self.gather(caller, target, (*from, *version), order))
            }
            ListOp::Exchange { with, version } => Some(self.exchange(target.object, *with, *version)),
            _ => None,
        }
    }

    fn gather(
        &mut self,
        caller: Caller<'_>,
        target: Target,
        (from, version): (ObjectId, u64),
        order: &[u64],
    ) -> Answer<Payload> {
        if order.len() > ORDER_ITEMS_MAX {
            return Err(Fault::TooMany { limit: count_of(ORDER_ITEMS_MAX) });
        }
        let source = self.list(from)?;
        source.check_version(version)?;
        let items = source.items();
        let copies = order.iter().map(|at| {
            let no_item = Fault::Index { index: *at, len: count_of(items.len()) };
            items.get(index_of(*at)).cloned().ok_or(no_item)
        });
        let copies: Vec<Payload> = copies.collect::<Result<_, _>>()?;
        // A copy shares the bytes with the original, and needs a place and references of its own.
        self.core.memory.account.check(copies.len().saturating_mul(size_of::<Payload>()))?;
        self.core.work.charge(copies.len().saturating_mul(ENTRY / 8));
        self.list(target.object)?;
        let copies = copies.into_iter().map(|copy| self.core.keep_again(copy)).collect();
        let slot = self.core.registry.slot(target.object).ok_or(Fault::UnknownObject)?;
        let Some(Body::List(list)) = self.bodies.get_mut(slot) else { return Err(Fault::UnknownObject) };
        let answer = list.append(copies, &mut Context::new(&mut self.core, caller, target));
        self.bodies.recharge(slot, &mut self.core.memory.containers);
        answer
    }

    /// Exchanges the contents of two lists at once.
    fn exchange(&mut self, one: ObjectId, other: ObjectId, version: u64) -> Answer<Payload> {
        self.list(one)?.check_version(version)?;
        if one == other {
            return DONE;
        }
        let items = self.list(other)?.items_mut().take();
        let items = self.list(one)?.replace_items(items);
        self.list(other)?.replace_items(items);
        for list in [one, other] {
            if let Some(slot) = self.core.registry.slot(list) {
                self.bodies.recharge(slot, &mut self.core.memory.containers);
            }
        }
        DONE
    }

    /// Takes the items out of a list to make an array.
    pub(super) fn array_of(&mut self, list: ObjectId) -> Result<Array, Fault> {
        let source = self.list(list)?;
        if source.items().len() > ARRAY_ELEMENTS_MAX {
            return Err(Fault::TooMany { limit: count_of(ARRAY_ELEMENTS_MAX) });
        }
        let elements = source.items_mut().take_sequence().ok_or(Fault::Malformed)?;
        source.replace_items(Default::default());
        if let Some(slot) = self.core.registry.slot(list) {
            self.bodies.recharge(slot, &mut self.core.memory.containers);
        }
        Ok(Array::of(elements))
    }

    fn list(&mut self, id: ObjectId) -> Result<&mut List, Fault> {
        match self.body(id) {
            Some(Body::List(list)) => Ok(list),
            Some(other) => Err(Fault::WrongKind { found: other.kind() }),
            None => Err(Fault::UnknownObject),
        }
    }
}
