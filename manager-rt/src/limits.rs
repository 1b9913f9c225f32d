//! The limits of a manager, each with its unit and its reason.

use std::time::Duration;

/// The longest body of a frame, in bytes: one value of 64 MiB and its envelope.
pub const FRAME_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);
/// The longest encoded value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// The approximate most bytes of values in one answer to an operation that returns a page. A page has at least one
/// value.
pub const PAGE_BYTES: usize = 256 << 10;
/// The most values in one answer to an operation that returns a page.
pub const PAGE_ITEMS_MAX: u64 = 4_096;
/// At how many values of an object a report looks to find its size. The values after them count as the average of those:
/// 1,024.
pub const VALUES_SEEN_MAX: usize = 1_024;
/// The most values that one operation may add or replace, since each of them takes time: 65,536.
pub const VALUES_AT_ONCE_MAX: usize = 65_536;
/// The most dict entries that one operation may add or replace. There are fewer of them because each one is looked up.
pub const ENTRIES_AT_ONCE_MAX: usize = 4_096;
/// The most items that one search of a list looks at, which takes 1 to 2 ms. An item in separate memory counts as
/// several.
pub const SCAN_ITEMS_MAX: usize = 1 << 18;
/// The most work that one operation or transaction may do, in units of about 10 ns: 5 ms.
pub const OPERATION_UNITS_MAX: usize = 1 << 19;
/// The most items that one operation reorders, which takes up to 4 ms.
pub const ORDER_ITEMS_MAX: usize = 1 << 15;
/// How many items a client reorders in one operation, which takes less than 1 ms. A longer list is sorted in several.
pub const ORDER_ITEMS_AT_ONCE: usize = 1 << 12;
/// How many elements of an array with more than [`VALUES_AT_ONCE_MAX`] of them a client sends in one operation, which takes less
/// than 1 ms.
pub const ELEMENTS_AT_ONCE: usize = 1 << 12;
/// The most elements of an array.
pub const ARRAY_ELEMENTS_MAX: usize = 1 << 20;
/// The most attributes of a namespace, since one answer names them all.
pub const ATTRIBUTES_MAX: usize = 16_384;
/// The longest name of an object or an attribute, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest path of a snapshot, in bytes: that of the system.
pub const FILE_PATH_BYTES_MAX: usize = 4_095;
/// The longest name of the file of a snapshot, in bytes: that of most file systems, less what is added for the files beside it.
pub const FILE_NAME_BYTES_MAX: usize = 230;
/// The most snapshots that clients may be waiting for at the same time. They are written one after the other.
pub const SNAPSHOTS_WAITING_MAX: usize = 16;
/// The most operations in one transaction.
pub const TRANSACTION_OPS_MAX: usize = 4_096;
/// The most calls that travel in one frame. A server runs them without a look at other clients, which takes about 20 us.
pub const CALLS_TOGETHER_MAX: u16 = 128;
/// The most bytes of the body of such a frame. Whoever adds a call that is longer sends it in a frame of its own.
pub const CALLS_TOGETHER_BYTES_MAX: usize = 16 << 10;
/// The bytes of values in answers after which a server stops to run the calls of such a frame, and writes first.
pub const ANSWERS_TOGETHER_BYTES: usize = 16 << 10;
/// The most calls of one connection that wait at the same time.
pub const WAITING_CALLS_MAX: usize = 16_384;
/// The most locks, permits and tasks that left with unread answers and that the server remembers for each connection.
/// Beyond that, the oldest of them count as read.
pub const GRANTS_UNREAD_MAX: usize = 4_096;
/// The most references to objects that one value may contain.
pub const VALUE_OBJECTS_MAX: usize = 4_096;
/// How long an object lives if its only reference is a proxy that is travelling in a message.
pub const TRANSIT_GRACE: Duration = Duration::from_secs(30);
/// The most permits of a semaphore, taken or free.
pub const PERMITS_MAX: u64 = u32::MAX as u64;
/// The most parties of a barrier.
pub const PARTIES_MAX: u64 = 65_536;
/// The greatest depth to which one thread may take a reentrant lock.
pub const DEPTH_MAX: u64 = u32::MAX as u64;
/// The most items of a queue that has a limit.
pub const CAPACITY_MAX: u64 = u32::MAX as u64;
/// The most failed tasks that a queue keeps. When one more fails, the oldest is dropped, so tasks that no process looks
/// at do not fill the manager.
pub const FAILED_TASKS_MAX: usize = 65_536;
/// How often a task is delivered by default before it fails.
pub const MAX_DELIVERIES_DEFAULT: u32 = 10;
/// The most bytes that a manager may take by default: 1 GiB.
pub const MEMORY_BYTES_DEFAULT: usize = 1 << 30;
/// The part of a manager's memory above its limit that only clients, waiting calls and references may take: a sixteenth.
/// So a manager that is full of values still answers.
pub const RESERVE_SHARE: usize = 16;
/// The least reserve of a manager above its limit, in bytes: 1 MiB.
pub const RESERVE_BYTES_MIN: usize = 1 << 20;
/// The part of a manager's memory that one client may take by default for what is kept for it as a client: half, at least
/// [`CLIENT_SHARE_BYTES_MIN`]. That is items that it has taken and not confirmed, unread answers, unfinished frames,
/// waiting calls, references, and what it holds. What it stores belongs to the objects.
pub const CLIENT_SHARE: usize = 2;
/// The least share of a client, in bytes: 1 MiB.
pub const CLIENT_SHARE_BYTES_MIN: usize = 1 << 20;
/// The part of a client's share that its waiting calls, references and holdings may take: a quarter. The rest is for items,
/// frames and answers.
pub const CLIENT_RECORDS_SHARE: usize = 4;
/// A client that takes no more than this part of its share for items, frames and answers, a sixteenth, may send or take one
/// that is larger than the share.
pub const CLIENT_LITTLE_SHARE: usize = 16;
/// The part of the reserve that one client may take: a sixteenth.
pub const RESERVE_CLIENT_SHARE: usize = 16;
/// The part of the reserve that unread answers may take, a quarter. In a manager that is so full that they take more, long
/// answers are refused, and the server disconnects the clients that have left the most unread.
pub const RESERVE_ANSWERS_SHARE: usize = 4;
/// How many of the [`UNFINISHED_DIVISOR`] parts of a manager's memory the frames may take that have not arrived
/// completely: three quarters, for all connections together. So short calls fit even if some clients send long frames and
/// never finish them.
pub const UNFINISHED_PARTS: usize = 3;
/// See [`UNFINISHED_PARTS`].
pub const UNFINISHED_DIVISOR: usize = 4;
/// The part of a manager's memory that the sequences of one frame may take once they are decoded: a sixteenth. An item
/// that takes two bytes in a frame may take 32 after decoding.
pub const DECODED_SHARE: usize = 16;
/// The least room for the sequences of one decoded frame, in bytes, however small a manager's memory is: 4 MiB, so that
/// [`VALUES_AT_ONCE_MAX`] values can always be decoded.
pub const DECODED_BYTES_MIN: usize = 4 << 20;
/// The most connections of a manager by default.
pub const CLIENTS_MAX_DEFAULT: usize = 10_000;
/// The most objects of a manager: slot numbers have 24 bits.
pub const OBJECTS_MAX: usize = 1 << 24;
/// The most objects whose references one call may add or drop.
pub const REFERENCES_AT_ONCE_MAX: usize = 65_536;
/// The longest key in a file, or of a server that is started, in bytes: the key is sent to the server's process in one short packet.
pub const KEY_BYTES_MAX: usize = mp_sys::key::file::KEY_BYTES_MAX;
/// The shortest key of a server that other hosts reach, in bytes. Shorter keys could be guessed with the help of a recorded
/// connection.
pub const REMOTE_KEY_BYTES_MIN: usize = 32;
/// The most keys that a server accepts at the same time.
pub const KEYS_MAX: usize = 8;
/// The most bytes that one record of an encrypted stream contains.
pub const RECORD_BYTES_MAX: usize = 32 << 10;
/// The longest name of a host, in bytes: that of the domain name system.
pub const HOST_BYTES_MAX: usize = 253;
/// How long another host may be silent by default before it counts as lost.
pub const LOST_AFTER_DEFAULT: Duration = Duration::from_secs(10);
/// How long a process that has died with its host keeps by default what it holds in Redis.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);
/// The shortest lease of what a process holds in Redis. It is renewed three times in that time.
pub const LEASE_MIN: Duration = Duration::from_millis(200);
/// The longest lease of what a process holds in Redis.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// How long a peer may take for the handshake.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// The most peers in the handshake. Beyond that, the server disconnects the oldest of them.
pub const HANDSHAKES_MAX: usize = 2_048;
/// The part of the reserve that peers in the handshake may take: half. Beyond that, the server disconnects the oldest of them.
pub const HANDSHAKES_SHARE: usize = 2;
/// The most connections that the server accepts before its clients have their next turns.
pub const ACCEPTS_AT_ONCE: usize = 8;
/// The most peers in the handshake whose messages the server reads before its clients have their next turns.
pub const HANDSHAKES_AT_ONCE: usize = 16;
/// The most peers whose time for the handshake is over that the server disconnects before its clients have their next
/// turns.
pub const LATE_AT_ONCE: usize = 16;
/// How long the server accepts connections, reads messages of the handshake, or disconnects late peers, before its
/// clients have their next turns. It does each of these things at least once. And once accepting and reading have taken so
/// much more than half of the time, they wait for as long, if there are clients.
pub const ARRIVALS_TIME_MAX: Duration = Duration::from_micros(500);
/// How many bytes the server reads from one connection before the next one has its turn.
pub const TURN_BYTES: usize = 64 << 10;
/// How long one connection's turn may take before the next one has its turn, unless a single operation takes longer.
pub const TURN_TIME_MAX: Duration = Duration::from_micros(100);
/// The same while other connections have turns, too, so that a short call of theirs waits less for a long pipeline. Turns are
/// longer while new connections are let in, or there is work of earlier turns, or no memory to keep what a turn leaves.
pub const TURN_TIME_BESIDE_OTHERS: Duration = Duration::from_micros(25);
/// From how many bytes of items on a client tells the server at once that they have arrived, so that the server need not keep
/// them: 32 KiB, with [`ITEM_NOTE_BYTES`] for each. Fewer are reported with the next call.
pub const ACKNOWLEDGED_BYTES_MIN: usize = 32 << 10;
/// The most calls of which a client says at once that it has taken the items.
pub const TAKEN_CALLS_MAX: u64 = 512;
/// What a client counts for each item that it has not confirmed, in addition to its length, in bytes: about what the server needs
/// to note it.
pub const ITEM_NOTE_BYTES: usize = 192;
/// How many bytes of answers a client may leave unread. Beyond that, the server reads no more operations from it.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// The part of a manager's memory that the unread answers of all clients may take, in addition to long values, before each
/// client may leave only [`UNSENT_BYTES_LEAST`] unread: an eighth, at least [`UNSENT_BYTES_MAX`]. Above twice that, the
/// server disconnects the clients that have left the most.
pub const UNSENT_SHARE: usize = 8;
/// The part of a manager's memory that the incomplete records of all streams between hosts may take: a quarter, at least
/// [`SEALED_BYTES_MIN`]. Above that, the server disconnects the clients that have completed no record for the longest time.
pub const SEALED_SHARE: usize = 4;
/// See [`SEALED_SHARE`]: 1 MiB.
pub const SEALED_BYTES_MIN: usize = 1 << 20;
/// How many bytes of answers a client may leave unread if all clients together leave too many: 16 KiB.
pub const UNSENT_BYTES_LEAST: usize = 16 << 10;
/// How long a server's process may take to start serving.
pub const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a server's process may take to end when asked to, before it is killed.
pub const END_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a server that keeps its objects in a file, or begins with those in one, may take to start serving, or to end when
/// asked to, before it is killed.
pub const SAVE_TIME_MAX: Duration = Duration::from_secs(600);
/// How long connecting to a manager may take by default.
pub const CONNECT_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// How long a fork may wait until the server can be told what the child inherits. Usually nothing has to be waited for.
pub const FORK_TIME_MAX: Duration = Duration::from_millis(100);
