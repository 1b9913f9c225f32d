//! The numbers of all operations, answers and faults on the wire.
//!
//! They only grow. To add a variant, add a line with the next number at the end of its table, with the version that
//! introduces it. To remove one, move its number to `retired { … }`. The order of declaration does not matter. A struct
//! never changes its fields; the variant that contains it is replaced by another one.
//!
//! A test compares the encoded bytes of each line with `tests/golden/protocol.txt`, and says what to do if they differ.

mod answers;
mod operations;
