//! Every limit of a manager, with its unit and its reason.

use std::time::Duration;

/// The longest body of a frame, in bytes: one value of 64 MiB and what is around it.
pub const FRAME_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);
/// The longest encoded value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// About the most bytes of values in one answer to an operation that gives a page of many; one value is always given.
pub const PAGE_BYTES: usize = 256 << 10;
/// The most values in one answer to an operation that gives a page of many.
pub const PAGE_ITEMS_MAX: u64 = 4_096;
/// Values that one operation may add or replace, for each of them takes time: 65,536.
pub const VALUES_AT_ONCE_MAX: usize = 65_536;
/// Entries of a dict that one operation may add or replace: fewer, for each of them is looked up.
pub const ENTRIES_AT_ONCE_MAX: usize = 4_096;
/// Items that one search of a list looks at, which takes 7 ms; one that lies in memory of its own counts as many.
pub const SCAN_ITEMS_MAX: usize = 1 << 20;
/// Items of a list that can be put in another order: that is done in one step, and takes 72 ms for so many.
pub const ORDER_ITEMS_MAX: usize = 1 << 20;
/// Elements of an array: it is made in one step, and that takes about 20 ms for so many.
pub const ARRAY_ELEMENTS_MAX: usize = 1 << 20;
/// Attributes of a namespace: one answer names them all.
pub const ATTRIBUTES_MAX: usize = 16_384;
/// The longest name of an object or an attribute, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Operations in one transaction.
pub const TRANSACTION_OPS_MAX: usize = 4_096;
/// Calls of one connection that wait at the same time.
pub const WAITING_CALLS_MAX: usize = 16_384;
/// References to objects that one value may carry.
pub const VALUE_OBJECTS_MAX: usize = 4_096;
/// How long an object lives whose proxy is under way in a message and has no other reference.
pub const TRANSIT_GRACE: Duration = Duration::from_secs(30);
/// Permits of a semaphore, taken or free.
pub const PERMITS_MAX: u64 = u32::MAX as u64;
/// Parties of a barrier.
pub const PARTIES_MAX: u64 = 65_536;
/// Depth to which one thread may enter a reentrant lock.
pub const DEPTH_MAX: u64 = u32::MAX as u64;
/// Items of a queue that has a limit.
pub const CAPACITY_MAX: u64 = u32::MAX as u64;
/// Failed tasks that a queue keeps: when one more fails, the oldest is dropped, so that what nobody looks at does not fill
/// the manager.
pub const FAILED_TASKS_MAX: usize = 65_536;
/// Deliveries of a task before it has failed by default.
pub const MAX_DELIVERIES_DEFAULT: u32 = 10;
/// Bytes that all values of a manager may take by default: 1 GiB.
pub const MEMORY_BYTES_DEFAULT: usize = 1 << 30;
/// Connections of a manager by default.
pub const CLIENTS_MAX_DEFAULT: usize = 10_000;
/// Objects of a manager: their slots have 24 bits.
pub const OBJECTS_MAX: usize = 1 << 24;
/// Objects that one call may add or drop references of.
pub const REFERENCES_AT_ONCE_MAX: usize = 65_536;
/// Bytes of the key of a server that is started: it is sent to the server's process in one short packet.
pub const KEY_BYTES_MAX: usize = 2_048;
/// How long a peer may take to prove itself.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Peers that have not proved themselves yet; beyond, the oldest of them has to go.
pub const HANDSHAKES_MAX: usize = 2_048;
/// Bytes that the server reads of one connection before the next one has its turn.
pub const TURN_BYTES: usize = 64 << 10;
/// Bytes of answers that a client may leave unread; beyond, the server reads no further operation of it.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// How long a server's process may take from its start until it serves.
pub const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a server's process that was told to end may take, before it is killed.
pub const END_TIME_MAX: Duration = Duration::from_secs(5);
/// How long connecting to a manager may take by default.
pub const CONNECT_TIME_DEFAULT: Duration = Duration::from_secs(10);
