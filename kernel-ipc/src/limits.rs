//! All limits of this crate, with units and reasons. Tests check each at the limit and one above it.

use std::time::Duration;

/// Bytes of the longest encoded message. The sender refuses a longer one, and so does a receiver, before it allocates
/// memory for it. Data of more than 256 MiB belongs in shared memory, whose handle fits into any message.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Bytes of the longest message that goes through the socket itself. A longer one goes into a sealed memory file, and the
/// file's descriptor is sent. With the system's usual settings, a socket accepts packets of up to 212,960 bytes. Copying is
/// faster than making a file: 12 us compared with 44 us for this size.
pub const INLINE_BYTES_MAX: usize = 200 << 10;

/// The most descriptors that one message can carry, including the one that holds a long message's own bytes. The kernel
/// allows no more in one packet (`SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = mp_sys::socket::DESCRIPTORS_MAX;

/// Bytes of the longest encoded item of a queue; the same as for a message.
pub const ITEM_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// The most bytes that the items of one [`Queue::get_many`](crate::Queue::get_many) may have together, including their
/// overhead. If the first item alone has more, it is taken alone. Without this limit, a peer could make a process use all
/// its memory at once.
pub const BATCH_BYTES_MAX: usize = ITEM_BYTES_MAX;

/// The largest capacity of a bounded queue: items are counted in 32 bits.
pub const CAPACITY_MAX: usize = (1 << 32) - 1;

/// The most tasks of one size that a [`JoinableQueue`](crate::JoinableQueue) may have handed out, or keep as failed, at the
/// same time. Sizes are powers of two from 64 bytes upwards. For tasks over 64 KiB the limit is lower, since the space of
/// each size is limited to 4 GiB.
pub const TASKS_MAX: usize = 1 << 16;

/// Bytes of the longest name of a listener: a socket's address has 108 bytes, and the library uses a few of them.
pub const ADDRESS_BYTES_MAX: usize = 100;

/// The longest time that a handshake may take. A listener counts from the moment when it sees the peer, and a peer from the
/// listener's first byte. No honest side needs more.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// The most unfinished handshakes of one listener. One more ends the oldest, so that silent peers cannot keep others out.
pub const HANDSHAKES_MAX: usize = 64;
