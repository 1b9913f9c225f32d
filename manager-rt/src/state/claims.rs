//! Claims of bequests that came before the bequests.

use std::collections::HashSet;

/// The claims that came before the bequests.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The bequests that were claimed and have not been made.
    pub(super) awaited: HashSet<u128>,
    /// Those that have been made or refused since.
    pub(super) claimable: Vec<u128>,
    /// How often a bequest was searched.
    #[cfg(test)]
    pub(super) searched: usize,
}
