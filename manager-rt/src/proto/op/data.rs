//! The operations of objects that hold values: list, dict, namespace, value, array.

use serde::{Deserialize, Serialize};

use crate::proto::ObjectId;

/// The target and the start of a search in a list.
///
/// One operation looks at about [`SCAN_ITEMS_MAX`](crate::limits::SCAN_ITEMS_MAX) items, and its answer says where to
/// continue. To continue, the caller passes the number of changes from the first answer. If the list has changed since,
/// the operation fails with `Fault::Changed`, and the search starts again. A list of up to that many short items is
/// searched in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan<P> {
    /// The value that is searched for.
    pub value: P,
    /// The first index.
    pub from: u64,
    /// The expected number of changes; `None` accepts any.
    pub version: Option<u64>,
}

/// The operations of a list. Indices start at 0.
///
/// | operation | answer |
/// |---|---|
/// | `Gather`, `Exchange`, `Push`, `Extend`, `Insert`, `Clear`, `Reverse`, `Swap`, `Reorder`, `Store`, `Delete` | `Done` |
/// | `Get`, `Set`, `Remove`, `Pop` | `Value`: the item, the previous one, the removed one |
/// | `IndexOf`, `RemoveValue` | `Scanned`: `found` is the index; if both `found` and `next` are absent, there is none |
/// | `Count` | `Scanned`: `found` is the count from `from` up to `next` |
/// | `Len` | `Len` |
/// | `Page` | `Values`: none at or beyond the length; `version` is the number of changes |
/// | `CompareExchange` | `Bool(true)`, or `Found` with the current item |
///
/// `Fault::Index` for an index without an item, `Fault::Empty` for `Pop`, `Fault::TooMany` for too many values at once,
/// `Fault::Changed` if the expected number of changes differs. In a transaction, a search whose answer has a `next` is
/// incomplete, and its `RemoveValue` has done nothing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ListOp<P> {
    /// Appends an item.
    Push(P),
    /// Appends items, at most [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX).
    Extend(Vec<P>),
    /// Returns the item at an index.
    Get(u64),
    /// Sets the item at an index, and returns the previous one.
    Set(u64, P),
    /// Inserts an item before an index, which may equal the length.
    Insert(u64, P),
    /// Removes and returns the item at an index.
    Remove(u64),
    /// Removes and returns the last item.
    Pop,
    /// Removes the first item that equals a value, and returns its index.
    RemoveValue(Scan<P>),
    /// Returns the index of the first item that equals a value.
    IndexOf(Scan<P>),
    /// Returns how many items equal a value.
    Count(Scan<P>),
    /// Returns the number of items, and of changes so far.
    Len,
    /// Removes all items.
    Clear,
    /// Reverses the order.
    Reverse,
    /// Swaps two items.
    Swap(u64, u64),
    /// Returns the items from an index on, as many as fit in one answer and at most `max`, and the number of changes so
    /// far.
    Page {
        /// The first index.
        at: u64,
        /// The most items to return.
        max: u64,
    },
    /// Sets the item at an index to `new` if it equals `expected`. Otherwise returns the current item.
    CompareExchange {
        /// The index.
        at: u64,
        /// The expected item.
        expected: P,
        /// The new item.
        new: P,
    },
    /// Reorders the items if the number of changes is the expected one: the item at `order[i]` moves to `i`. At most
    /// [`ORDER_ITEMS_MAX`](crate::limits::ORDER_ITEMS_MAX) items; `Fault::Malformed` if `order` does not name each
    /// index once.
    Reorder {
        /// The number of changes that the caller saw.
        version: u64,
        /// For each place, the index of the item that moves there.
        order: Vec<u64>,
    },
    /// Sets the item at an index.
    Store(u64, P),
    /// Removes the item at an index.
    Delete(u64),
    /// Appends copies of items of another list if that list's number of changes is the expected one: first the item at
    /// `order[0]`. At most [`ORDER_ITEMS_MAX`](crate::limits::ORDER_ITEMS_MAX) items. A long list is sorted by gathering
    /// its items in another list, piece by piece, and then exchanging the contents of the two.
    Gather {
        /// The other list.
        from: ObjectId,
        /// The number of its changes that the caller saw.
        version: u64,
        /// The indices of the items there.
        order: Vec<u64>,
    },
    /// Exchanges the contents of this list and another one if the number of changes of this one is the expected one. Not
    /// in a transaction.
    Exchange {
        /// The other list.
        with: ObjectId,
        /// The number of changes that the caller saw.
        version: u64,
    },
}

/// The operations of a dict. Keys are equal if their encoded bytes are. A new key goes to the end of the order; a key
/// that has a value keeps its place.
///
/// | operation | answer |
/// |---|---|
/// | `Get`, `Remove` | `Option`: the value, if there is one |
/// | `Insert` | `Option`: the previous value, if there was one |
/// | `InsertNew` | `Bool(true)`, or `Found` with the current value |
/// | `Claim`, `Store` | `Done` |
/// | `Contains`, `Delete` | `Bool`; for `Delete`, whether the key had a value |
/// | `GetOrInsert` | `Value`: the current value of the key |
/// | `PopItem` | `Entry`, or `None` if the dict is empty |
/// | `Extend`, `Clear`, `FetchAddMany` | `Done` |
/// | `Len` | `Count` |
/// | `FetchAdd` | `Before`: an encoded 0 for a key without a value |
/// | `CompareExchange` | `Bool(true)`, or `Found` with the current value |
/// | `Page` | `Values` (with the place as `version`) for keys or values, `Entries` for both; an empty page is the end |
///
/// `Fault::NoNumber` for adding to a value that is not a number of that type, `Fault::TooMany` for too many entries at
/// once. An operation that fails changes nothing, including `Extend` and `FetchAddMany`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DictOp<P> {
    /// Returns the value of a key.
    Get(P),
    /// Sets the value of a key, and returns the previous one.
    Insert(P, P),
    /// Sets the value of a key that has none. Otherwise returns the current value.
    InsertNew(P, P),
    /// Sets the value of a key that has none. Otherwise fails with [`Fault::Exists`](crate::proto::Fault::Exists), so
    /// that a transaction that starts with it happens once, however often it is sent.
    Claim(P, P),
    /// Removes a key, and returns its value.
    Remove(P),
    /// Returns whether a key has a value.
    Contains(P),
    /// Returns the value of a key, after setting it to this one if there was none.
    GetOrInsert(P, P),
    /// Removes and returns the newest entry.
    PopItem,
    /// Sets the values of keys in this order, at most [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX).
    Extend(Vec<(P, P)>),
    /// Returns the number of entries.
    Len,
    /// Removes all entries.
    Clear,
    /// Adds to the number of a key, which counts as 0 if there is none, and returns the number before.
    FetchAdd(P, Number),
    /// Adds to the numbers of keys, which count as 0 if there are none; at most
    /// [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX).
    FetchAddMany(Vec<(P, Number)>),
    /// Sets or removes (`None`) the value of a key if it is `expected`. Otherwise returns the current value.
    CompareExchange {
        /// The key.
        key: P,
        /// The expected value.
        expected: Option<P>,
        /// The new value.
        new: Option<P>,
    },
    /// Returns the entries after a place in insertion order, as many as fit in one answer and at most `max`.
    Page {
        /// The place of the newest entry that the caller has.
        after: Option<u64>,
        /// The most entries to return.
        max: u64,
        /// Which part of each entry to return.
        part: Part,
    },
    /// Sets the value of a key.
    Store(P, P),
    /// Removes a key, and returns whether it had a value.
    Delete(P),
}

/// The part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Keys only.
    Keys,
    /// Values only.
    Values,
    /// Both.
    Items,
}

/// A number to add to an encoded one. Sums wrap around, like those of atomics.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is named after its type")]
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

/// The operations of a namespace. Each attribute has its own type.
///
/// | operation | answer |
/// |---|---|
/// | `Get` | `Value` |
/// | `Set`, `Delete` | `Done` |
/// | `Names` | `Names`, in the order in which they were first set |
///
/// `Fault::NotFound` for an attribute that was not set, `Fault::WrongType` if it was set with another type,
/// `Fault::BadName` for a name that is empty or longer than [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX),
/// `Fault::TooMany` beyond [`ATTRIBUTES_MAX`](crate::limits::ATTRIBUTES_MAX) attributes. A name that begins with `_`
/// stays in the proxy, as in Python, so here it fails with `Fault::Unsupported`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NamespaceOp<P> {
    /// Returns the value of an attribute.
    Get {
        /// The name.
        name: String,
        /// The fingerprint of the type that the caller expects.
        print: u64,
    },
    /// Sets an attribute, which may have had another type before.
    Set {
        /// The name.
        name: String,
        /// The fingerprint of the type.
        print: u64,
        /// The value.
        value: P,
    },
    /// Removes an attribute.
    Delete {
        /// The name.
        name: String,
    },
    /// Returns the names of all attributes.
    Names,
}

/// The operations of a value.
///
/// | operation | answer |
/// |---|---|
/// | `Get`, `Set` | `Value`: the value, the previous one |
/// | `CompareExchange` | `Bool(true)`, or `Found` with the current value |
/// | `FetchAdd` | `Before` |
/// | `Store` | `Done` |
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ValueOp<P> {
    /// Returns the value.
    Get,
    /// Sets the value, and returns the previous one.
    Set(P),
    /// Sets the value if it is `expected`. Otherwise returns the current one.
    CompareExchange {
        /// The expected value.
        expected: P,
        /// The new value.
        new: P,
    },
    /// Adds to a number, and returns the number before.
    FetchAdd(Number),
    /// Sets the value.
    Store(P),
}

/// The operations of an array. Indices start at 0.
///
/// | operation | answer |
/// |---|---|
/// | `Len` | `Count` |
/// | `Get`, `Set` | `Value`: the element, the previous one |
/// | `Read` | `Values`: none at the length; `version` is the number of changes |
/// | `Write`, `Store` | `Done` |
/// | `CompareExchange` | `Bool(true)`, or `Found` with the current element |
/// | `FetchAdd` | `Before` |
///
/// `Fault::Index` for an index without an element, and then nothing is written; `Fault::NoNumber` for adding to an
/// element that is not a number of that type; `Fault::TooMany` for too many elements at once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ArrayOp<P> {
    /// Returns the number of elements.
    Len,
    /// Returns the element at an index.
    Get(u64),
    /// Sets an element, and returns the previous one.
    Set(u64, P),
    /// Returns the elements from an index on, as many as fit in one answer and at most `max`, and the number of changes
    /// so far.
    Read {
        /// The first index.
        at: u64,
        /// The most elements to return.
        max: u64,
    },
    /// Sets the elements from an index on, at most [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX).
    Write {
        /// The first index.
        at: u64,
        /// The elements.
        elements: Vec<P>,
    },
    /// Sets an element if it is `expected`. Otherwise returns the current one.
    CompareExchange {
        /// The index.
        at: u64,
        /// The expected element.
        expected: P,
        /// The new element.
        new: P,
    },
    /// Adds to a number, and returns the number before.
    FetchAdd(u64, Number),
    /// Sets an element.
    Store(u64, P),
}
