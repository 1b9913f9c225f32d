//! Every limit of this crate, with its unit and its reason. Each is tested at the limit and one above it.

use std::time::Duration;

/// Bytes of the longest encoded message. A longer one is refused by its sender, and by a receiver before it takes memory
/// for it: what is longer than 256 MiB belongs in shared memory, whose handle fits into any message.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Bytes of the longest message that goes through the socket itself; a longer one goes in a sealed file in memory whose
/// descriptor is sent. A socket takes packets of up to 212,960 bytes at the system's usual settings, and copying is faster
/// than making a file: 12 us against 44 us for this size.
pub const INLINE_BYTES_MAX: usize = 200 << 10;

/// Descriptors that one message carries at most, one of a long message's own bytes included: the kernel takes no more in
/// one packet (`SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = mp_sys::socket::DESCRIPTORS_MAX;

/// Bytes of the longest encoded item of a queue: as of a message.
pub const ITEM_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Bytes of the items that one call of [`Queue::get_many`](crate::Queue::get_many) takes at most, with what each takes
/// beside them, unless the first one alone has more. Else a peer could have a process take all its memory at once.
pub const BATCH_BYTES_MAX: usize = ITEM_BYTES_MAX;

/// Items that a bounded queue may be made for: they are counted in 32 bits.
pub const CAPACITY_MAX: usize = (1 << 32) - 1;

/// Tasks of one size that a [`JoinableQueue`](crate::JoinableQueue) may have handed out, or keep as failed, at the same
/// time. Sizes are counted in powers of two from 64 bytes on; of tasks over 64 KiB there are fewer, since their room is
/// limited to 4 GiB for each size.
pub const TASKS_MAX: usize = 1 << 16;
/// Bytes of a listener's name: a socket's address has 108, and a few are ours.
pub const ADDRESS_BYTES_MAX: usize = 100;

/// The longest that a handshake may take: for a listener from the moment when it sees a peer, and for a peer from the
/// listener's first byte on. Nobody honest needs more.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// Handshakes that one listener has half done. One more ends the oldest, so that silent peers keep nobody out.
pub const HANDSHAKES_MAX: usize = 64;
