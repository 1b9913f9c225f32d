//! Operations of what holds values: list, dict, namespace, value, array.

use serde::{Deserialize, Serialize};

/// What a list is searched for, and where.
///
/// One operation looks at about [`SCAN_ITEMS_MAX`](crate::limits::SCAN_ITEMS_MAX) items, and says where to go on. Whoever
/// goes on names the number of changes that the first answer told, and is refused with `Fault::Changed` if there were
/// more: then the search begins anew. A list of up to that many short items is searched in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan<P> {
    /// What the item equals.
    pub value: P,
    /// The first index.
    pub from: u64,
    /// The number of changes that there must have been; `None`: any.
    pub version: Option<u64>,
}

/// Of a list. Indices count from 0.
///
/// | operation | answer |
/// |---|---|
/// | `Push`, `Extend`, `Insert`, `Clear`, `Reverse`, `Swap`, `Reorder` | `Done` |
/// | `Get`, `Set`, `Remove`, `Pop` | `Value`: the item, the old one, the one that was taken |
/// | `IndexOf`, `RemoveValue` | `Scanned`: `found` is the index; without it and without `next` there is none |
/// | `Count` | `Scanned`: `found` is how many from `from` on until `next` |
/// | `Len` | `Len` |
/// | `Page` | `Values`: none from the length on; `version` is the number of changes |
/// | `CompareExchange` | `Bool(true)`, or `Found` with what is there |
///
/// `Fault::Index` for an index without an item, `Fault::Empty` for `Pop`, `Fault::TooMany` for too many values at once,
/// `Fault::Changed` where a number of changes is given. In a transaction a search that says `next` was not whole, and
/// `RemoveValue` has done nothing then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ListOp<P> {
    /// Adds an item at the end.
    Push(P),
    /// Adds items at the end, at most [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX).
    Extend(Vec<P>),
    /// The item at an index.
    Get(u64),
    /// Puts another item in the place of one, and gives the old one.
    Set(u64, P),
    /// Adds an item before an index, which may be the length.
    Insert(u64, P),
    /// Takes the item at an index.
    Remove(u64),
    /// Takes the last item.
    Pop,
    /// Takes the first item that equals a value, and gives its index.
    RemoveValue(Scan<P>),
    /// The index of the first item that equals a value.
    IndexOf(Scan<P>),
    /// How many items equal a value.
    Count(Scan<P>),
    /// The number of items, and of changes so far.
    Len,
    /// Takes all items.
    Clear,
    /// Turns the order round.
    Reverse,
    /// Exchanges two items.
    Swap(u64, u64),
    /// Items from an index on, as many as fit in one answer and at most `max`, and the number of changes so far.
    Page {
        /// The first index.
        at: u64,
        /// The most items.
        max: u64,
    },
    /// Puts `new` in the place of the item at an index if that equals `expected`; else gives what is there.
    CompareExchange {
        /// The index.
        at: u64,
        /// What must be there.
        expected: P,
        /// What comes there.
        new: P,
    },
    /// Puts the items in another order if there were this many changes so far: the item at `order[i]` comes to `i`. At most
    /// [`ORDER_ITEMS_MAX`](crate::limits::ORDER_ITEMS_MAX) items; `Fault::Malformed` if `order` does not name each once.
    Reorder {
        /// The number of changes that the caller saw.
        version: u64,
        /// For each place the index of the item that comes there.
        order: Vec<u64>,
    },
}

/// Of a dict. Keys are equal if their encoded bytes are. A new key goes to the end of the order, one that has a value
/// stays where it is.
///
/// | operation | answer |
/// |---|---|
/// | `Get`, `Remove` | `Option`: the value, if there is one |
/// | `Insert` | `Option`: the old value, if there was one |
/// | `InsertNew` | `Bool(true)`, or `Found` with the value that the key has |
/// | `Claim` | `Done` |
/// | `Contains` | `Bool` |
/// | `GetOrInsert` | `Value`: the one that the key has now |
/// | `PopItem` | `Entry`, `None` if there is none |
/// | `Extend`, `Clear`, `FetchAddMany` | `Done` |
/// | `Len` | `Count` |
/// | `FetchAdd` | `Before`, an encoded 0 for a key without a value |
/// | `CompareExchange` | `Bool(true)`, or `Found` with what there is |
/// | `Page` | `Values` (with the place as `version`) for keys or values, `Entries` for both; no entry: that was the end |
///
/// `Fault::NoNumber` for a sum with what is no number of that type, `Fault::TooMany` for too many entries at once. What
/// fails does nothing, `Extend` and `FetchAddMany` too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DictOp<P> {
    /// The value of a key.
    Get(P),
    /// Sets the value of a key, and gives the old one.
    Insert(P, P),
    /// Sets the value of a key that has none; else gives the value that it has.
    InsertNew(P, P),
    /// Sets the value of a key that has none; else [`Fault::Exists`](crate::proto::Fault::Exists), so that a transaction with
    /// it in front is done once, however often it is sent.
    Claim(P, P),
    /// Takes the value of a key.
    Remove(P),
    /// Whether a key has a value.
    Contains(P),
    /// The value of a key, which is set to this one if there is none.
    GetOrInsert(P, P),
    /// Takes the newest entry.
    PopItem,
    /// Sets the values of keys, in this order; at most [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX).
    Extend(Vec<(P, P)>),
    /// The number of entries.
    Len,
    /// Takes all entries.
    Clear,
    /// Adds to the number of a key, which counts as 0 if there is none, and gives the number before.
    FetchAdd(P, Number),
    /// Adds to the numbers of keys, each of which counts as 0 if there is none; at most
    /// [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX).
    FetchAddMany(Vec<(P, Number)>),
    /// Sets the value of a key (`None`: none) if it is `expected`; else gives what there is.
    CompareExchange {
        /// The key.
        key: P,
        /// What must be there.
        expected: Option<P>,
        /// What comes there.
        new: Option<P>,
    },
    /// Entries behind a place in the order of insertion, as many as fit in one answer and at most `max`.
    Page {
        /// The place of the newest entry that the caller has.
        after: Option<u64>,
        /// The most entries.
        max: u64,
        /// What is wanted of each.
        part: Part,
    },
}

/// Which part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Part {
    /// Keys only.
    Keys,
    /// Values only.
    Values,
    /// Both.
    Items,
}

/// A number to add to one that is stored encoded. Sums wrap around, as those of atomics do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the type that it is named for")]
pub enum Number {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    F32(f32),
    F64(f64),
}

/// Of a namespace. Each attribute has a type of its own.
///
/// | operation | answer |
/// |---|---|
/// | `Get` | `Value` |
/// | `Set`, `Delete` | `Done` |
/// | `Names` | `Names`, in the order in which they were first set |
///
/// `Fault::NotFound` for an attribute that was not set, `Fault::WrongType` if it was set with another type,
/// `Fault::BadName` for a name that is empty or longer than [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX),
/// `Fault::TooMany` beyond [`ATTRIBUTES_MAX`](crate::limits::ATTRIBUTES_MAX) attributes. A name that begins with `_` stays
/// in the proxy, as in Python, so here it is `Fault::Unsupported`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NamespaceOp<P> {
    /// The value of an attribute.
    Get {
        /// Its name.
        name: String,
        /// The fingerprint of the type that the caller expects.
        print: u64,
    },
    /// Sets an attribute, of whatever type it was.
    Set {
        /// Its name.
        name: String,
        /// The fingerprint of its type.
        print: u64,
        /// Its value.
        value: P,
    },
    /// Takes an attribute away.
    Delete {
        /// Its name.
        name: String,
    },
    /// The names of all attributes.
    Names,
}

/// Of a value.
///
/// | operation | answer |
/// |---|---|
/// | `Get`, `Set` | `Value`: the value, the old one |
/// | `CompareExchange` | `Bool(true)`, or `Found` with what it is |
/// | `FetchAdd` | `Before` |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ValueOp<P> {
    /// The value.
    Get,
    /// Another value; gives the old one.
    Set(P),
    /// Another value if it is `expected`; else gives what it is.
    CompareExchange {
        /// What it must be.
        expected: P,
        /// What it becomes.
        new: P,
    },
    /// Adds to a number, and gives the number before.
    FetchAdd(Number),
}

/// Of an array. Indices count from 0.
///
/// | operation | answer |
/// |---|---|
/// | `Len` | `Count` |
/// | `Get`, `Set` | `Value`: the element, the old one |
/// | `Read` | `Values`: none at the length; `version` is the number of changes |
/// | `Write` | `Done` |
/// | `CompareExchange` | `Bool(true)`, or `Found` with what it is |
/// | `FetchAdd` | `Before` |
///
/// `Fault::Index` for an index without an element, and nothing is written then; `Fault::NoNumber` for a sum with what is no
/// number of that type; `Fault::TooMany` for too many elements at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArrayOp<P> {
    /// The number of elements.
    Len,
    /// The element at an index.
    Get(u64),
    /// Another element; gives the old one.
    Set(u64, P),
    /// Elements from an index on, as many as fit in one answer and at most `max`, and the number of changes so far.
    Read {
        /// The first index.
        at: u64,
        /// The most elements.
        max: u64,
    },
    /// Other elements from an index on, at most [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX).
    Write {
        /// The first index.
        at: u64,
        /// The elements.
        elements: Vec<P>,
    },
    /// Another element if it is `expected`; else gives what it is.
    CompareExchange {
        /// The index.
        at: u64,
        /// What it must be.
        expected: P,
        /// What it becomes.
        new: P,
    },
    /// Adds to a number, and gives the number before.
    FetchAdd(u64, Number),
}
