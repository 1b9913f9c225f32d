//! Entry points for fuzzers: what clients may send to a server, and a server to clients, as bytes. Each returns, whatever it
//! is given; a panic is a finding.
//!
//! They are no part of the interface: everything here may change.

mod bytes;
mod frames;
mod ledger;
mod operations;
mod seeds;
mod world;

/// One way in: a name, the function, and inputs that are right.
#[derive(Debug)]
pub struct Entry {
    /// What it is called.
    pub name: &'static str,
    /// Runs it over one input.
    pub run: fn(&[u8]),
    /// Inputs as an honest peer would make them, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All ways in.
pub const ENTRIES: [Entry; 3] = [
    Entry { name: "manager-frames", run: frames::frames, seeds: seeds::frames },
    Entry { name: "manager-operations", run: operations::operations, seeds: seeds::operations },
    Entry { name: "manager-answers", run: crate::client::fuzz::answers, seeds: seeds::answers },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_inputs_get_through() {
        for entry in &ENTRIES {
            let seeds = (entry.seeds)();
            assert!(!seeds.is_empty(), "{} has seeds", entry.name);
            seeds.iter().for_each(|seed| (entry.run)(seed));
        }
    }
}
