//! The versions of the protocol.
//!
//! A version is a number that grows by one with each change of the protocol. It is fixed once it is in the golden file,
//! since another build may know it by then, whether there was a release or not. Numbers of operations, answers and faults
//! only grow, so a newer version knows everything that an older one does. Two sides agree on the newest version that both
//! know, and use nothing that is newer.
//!
//! | version | what it added |
//! |---|---|
//! | 3 | the first one whose numbers are fixed |
//! | 4 | sides offer a range of versions; an unknown number is an answer instead of the end of the connection; the server lists names in pages, sorts lists and makes arrays in steps, and keeps what a forked child inherits |
//! | 5 | permits, and places at barriers, are known by tokens; a leased lock says how long its call waited; a full manager says what is full; a manager reports what happens in it, and saves its objects; a client that connects again says which connection it replaces; a client says which items it has read before another answer can follow; light calls on one object travel together, and so do their answers |

/// The oldest version that this build knows.
pub const OLDEST: u16 = 3;
/// The newest version that this build knows.
pub const NEWEST: u16 = 5;
/// From this version on, a client has said which items it has read before another answer can follow them.
pub(crate) const ITEMS_SAID_SINCE: u16 = 5;
/// From this version on, light calls on one object may travel in one frame.
pub(crate) const CALLS_TOGETHER_SINCE: u16 = 5;
/// The version of a number whose line does not name one.
pub(super) const FIRST: u16 = 3;
