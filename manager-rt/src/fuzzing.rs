//! Entry points for fuzzers, which take bytes: what clients may send to a server, and what a server may send to
//! clients. Each returns, whatever its input is. A panic is a finding.
//!
//! They are not part of the interface, and may change at any time.

mod answers;
mod bytes;
mod frames;
mod ledger;
mod objects;
mod operations;
mod seeds;
mod unknown;
mod world;

use crate::state::snapshot::fuzz as snapshot;
#[cfg(feature = "tcp")]
use crate::transport::remote::sealed::fuzz as remote;

/// An entry point: its name, its function, and valid inputs.
#[derive(Debug)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// Runs the function on one input.
    pub run: fn(&[u8]),
    /// Valid inputs, as an honest peer would send them, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All entry points.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "manager-frames", run: frames::frames, seeds: seeds::frames },
    Entry { name: "manager-operations", run: operations::operations, seeds: seeds::operations },
    Entry { name: "manager-answers", run: crate::client::fuzz::answers, seeds: seeds::answers },
    Entry { name: "manager-snapshots", run: snapshot::snapshots, seeds: snapshot::seeds },
    #[cfg(feature = "tcp")]
    Entry { name: "manager-hellos", run: remote::hellos, seeds: remote::hello_seeds },
    #[cfg(feature = "tcp")]
    Entry { name: "manager-records", run: remote::records, seeds: remote::record_seeds },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_inputs_are_accepted() {
        for entry in ENTRIES {
            let seeds = (entry.seeds)();
            assert!(!seeds.is_empty(), "{} has seeds", entry.name);
            seeds.iter().for_each(|seed| (entry.run)(seed));
        }
    }
}
