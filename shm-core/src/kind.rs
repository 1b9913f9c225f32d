//! The kinds of objects, as shared memory and messages encode them: numbers that never change their meaning.

use mp_sys::named::Kind;

pub(crate) const VALUE: Kind = Kind::new(1);
pub(crate) const ARRAY: Kind = Kind::new(2);
pub(crate) const RAW_VALUE: Kind = Kind::new(3);
pub(crate) const RAW_ARRAY: Kind = Kind::new(4);
pub(crate) const LOCK: Kind = Kind::new(5);
pub(crate) const RLOCK: Kind = Kind::new(6);
pub(crate) const SEMAPHORE: Kind = Kind::new(7);
pub(crate) const BOUNDED_SEMAPHORE: Kind = Kind::new(8);
pub(crate) const EVENT: Kind = Kind::new(9);
pub(crate) const CONDITION: Kind = Kind::new(10);
pub(crate) const BARRIER: Kind = Kind::new(11);
pub(crate) const RW_LOCK: Kind = Kind::new(12);
pub(crate) const SHARED_MEMORY: Kind = Kind::new(13);

/// Returns the name of the kind with this number.
pub(crate) fn name_of(number: u8) -> &'static str {
    match number {
        1 => "Value",
        2 => "Array",
        3 => "RawValue",
        4 => "RawArray",
        5 => "Lock",
        6 => "RLock",
        7 => "Semaphore",
        8 => "BoundedSemaphore",
        9 => "Event",
        10 => "Condition",
        11 => "Barrier",
        12 => "RwLock",
        13 => "SharedMemory",
        _ => "unknown",
    }
}

/// Returns what an error calls an object with a kind of this number and elements of this type: `Value<u64>`.
pub(crate) fn words_for(number: u8, element: &str) -> String {
    match (name_of(number), element) {
        ("unknown", _) => "object of an unknown kind".to_owned(),
        (kind, "()") => kind.to_owned(),
        // It always contains bytes, and has no type parameter.
        ("SharedMemory", "u8") => "SharedMemory".to_owned(),
        (kind, element) => format!("{kind}<{element}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_number_of_its_own() {
        let kinds = [
            VALUE,
            ARRAY,
            RAW_VALUE,
            RAW_ARRAY,
            LOCK,
            RLOCK,
            SEMAPHORE,
            BOUNDED_SEMAPHORE,
            EVENT,
            CONDITION,
            BARRIER,
            RW_LOCK,
            SHARED_MEMORY,
        ];
        for (at, kind) in kinds.iter().enumerate() {
            assert!(!kinds[..at].contains(kind), "{kind:?}");
        }
    }
}
