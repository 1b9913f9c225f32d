//! Public behaviour within one process.

mod errors;
