//! Every limit of this crate, with its unit and its reason. Each is tested at the limit and one above it.

/// Bytes of the longest encoded message. A longer one is refused by its sender, and by a receiver before it takes memory
/// for it: 1 GiB is far above what a message is for, and far below where lengths overflow.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Descriptors that one message carries at most: the kernel takes no more in one packet (`SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = 253;
