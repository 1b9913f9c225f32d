//! Waiting for words in shared memory without blocking a thread of a runtime.

mod bell;
mod hub;
mod tasks;

use std::fmt;

use mp_sys::adaptive::Signal;

/// What tasks wait for. It keeps the memory of its word.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Returns the signal with the word. It is always the same one.
    fn signal(&self) -> &Signal;

    /// Looks for dead processes, if it is this process's turn. Returns whether the tasks should look then, although the word
    /// may be unchanged.
    fn look(&self) -> bool {
        false
    }
}

/// Which tasks of a queue look when the word has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// All of them.
    All,
    /// The one that came first.
    OneByOne,
}
