//! [`Definition`]: what a queue is, as RabbitMQ keeps it.
//!
//! RabbitMQ returns no arguments of a queue, and has no other place for data than queues. But it keeps the arguments of an exchange, and
//! refuses to declare it with others. The refusal contains those that it has. So each queue has an exchange, its register, that
//! nobody publishes to: the argument `alternate-exchange` is the definition. Whoever declares it first defines the queue, and the
//! others read the definition in the refusal, which has at most 255 bytes. That is why names are short.

use serde::{Deserialize, Serialize};

use crate::proto::{Kind, ObjectId};

/// The longest text that says why something was refused, in bytes: that of the protocol.
const REFUSAL_BYTES_MAX: usize = 255;
/// The length of a refusal without the namespace, the virtual host and the name, in bytes.
const REFUSAL_BYTES: usize = 174;
/// What stands before the definition in a refusal.
const CURRENT: &str = "but current is '";

/// What nobody defines a queue to be: a register is declared with it to be refused.
pub(super) const UNDEFINED: &str = "?";

/// Returns the longest name of a queue, in bytes, so that a refusal has room for its definition.
pub(super) fn name_bytes_max(namespace: &str, vhost: &str) -> usize {
    REFUSAL_BYTES_MAX
        .saturating_sub(REFUSAL_BYTES)
        .saturating_sub(namespace.len())
        .saturating_sub(vhost.len())
}

/// What a queue is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) id: u64,
    /// Whether it is a queue of tasks.
    pub(super) has_tasks: bool,
    /// Whether it is a replicated queue.
    pub(super) is_quorum: bool,
    /// The fingerprint of the type of its items.
    pub(super) print: u64,
    /// The most items; 0 for no limit.
    pub(super) capacity: u64,
    /// How often a task may be delivered.
    pub(super) max_deliveries: u32,
    /// The name, or nothing.
    pub(super) name: String,
}

impl Definition {
    pub(super) const fn kind(&self) -> Kind {
        if self.has_tasks { Kind::JoinableQueue } else { Kind::Queue }
    }

    pub(super) const fn object(&self) -> ObjectId {
        ObjectId(self.id)
    }

    /// Returns the text that RabbitMQ keeps.
    pub(super) fn text(&self) -> String {
        let kind = if self.has_tasks { 't' } else { 'i' };
        let of = if self.is_quorum { 'q' } else { 'c' };
        let Self { print, capacity, max_deliveries, name, .. } = self;
        format!("{kind}{of}.{print:x}.{capacity:x}.{max_deliveries:x}.{name}")
    }

    /// Reads the definition of the queue with this number.
    pub(super) fn parse(id: u64, text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '.');
        let (has_tasks, is_quorum) = match parts.next()? {
            "ic" => (false, false),
            "iq" => (false, true),
            "tq" => (true, true),
            _ => return None,
        };
        let print = u64::from_str_radix(parts.next()?, 16).ok()?;
        let capacity = u64::from_str_radix(parts.next()?, 16).ok()?;
        let max_deliveries = u32::from_str_radix(parts.next()?, 16).ok()?;
        let name = parts.next()?.to_owned();
        Some(Self { id, has_tasks, is_quorum, print, capacity, max_deliveries, name })
    }

    /// Reads the definition in the refusal to declare another one.
    pub(super) fn in_refusal(id: u64, refusal: &str) -> Option<Self> {
        let (_, current) = refusal.split_once(CURRENT)?;
        Self::parse(id, current.strip_suffix('\'')?)
    }
}

/// The names of a namespace in RabbitMQ. No namespace contains `/` or `!`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) namespace: String,
}

impl Names {
    /// Returns the name of the exchange with the definition.
    pub(super) fn register(&self, id: u64) -> String {
        format!("{}!{id:016x}", self.namespace)
    }

    /// Returns the name of the queue with the items.
    pub(super) fn queue(&self, definition: &Definition) -> String {
        match &*definition.name {
            "" => format!("{}!/{:016x}", self.namespace, definition.id),
            name => format!("{}/{name}", self.namespace),
        }
    }

    /// Returns the name of the queue with the failed tasks.
    pub(super) fn failed(&self, id: u64) -> String {
        format!("{}!failed/{id:016x}", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CAPACITY_MAX;

    fn longest(name: String) -> Definition {
        Definition {
            id: u64::MAX,
            has_tasks: true,
            is_quorum: true,
            print: u64::MAX,
            capacity: CAPACITY_MAX,
            max_deliveries: u32::MAX,
            name,
        }
    }

    fn refusal(vhost: &str, register: &str, current: &str) -> String {
        format!(
            "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{register}' in vhost '{vhost}': \
             received '{UNDEFINED}' but current is '{current}'"
        )
    }

    #[test]
    fn a_definition_is_read_in_a_refusal() {
        let names = Names { namespace: "app".to_owned() };
        for name in ["", "a.b", "it's '!"] {
            let definition = longest(name.to_owned());
            let text = refusal("/", &names.register(definition.id), &definition.text());
            assert_eq!(Definition::in_refusal(u64::MAX, &text), Some(definition));
        }
        for text in
            ["", "but current is 'xx.1.1.1.'", "but current is 'ic.1.1'", "but current is 'ic.1.1.1.cut o"]
        {
            assert_eq!(Definition::in_refusal(1, text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_name_fits_in_a_refusal_and_one_above_does_not() {
        let (namespace, vhost) = ("app", "/v");
        let names = Names { namespace: namespace.to_owned() };
        let most = name_bytes_max(namespace, vhost);
        let len = |bytes| {
            let definition = longest("n".repeat(bytes));
            refusal(vhost, &names.register(definition.id), &definition.text()).len()
        };
        assert_eq!((len(most), len(most + 1)), (REFUSAL_BYTES_MAX, REFUSAL_BYTES_MAX + 1));
        assert_eq!(name_bytes_max(namespace, &"v".repeat(255)), 0);
    }
}
