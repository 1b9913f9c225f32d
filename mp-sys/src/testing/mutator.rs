//! Inputs that are almost right, for entry points that take bytes from peers.

use crate::testing::Random;

/// The most bytes of an input.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// The most bytes that a doubling adds.
const DOUBLED_BYTES_MAX: u64 = 200;

/// Makes inputs from valid ones: it changes, cuts, doubles, inserts and joins.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    /// Starts with these inputs; the same `random` produces the same inputs again.
    #[must_use]
    pub fn new(random: Random, seeds: Vec<Vec<u8>>) -> Self {
        Self { random, seeds }
    }

    /// The inputs that it started with.
    #[must_use]
    pub fn seeds(&self) -> &[Vec<u8>] {
        &self.seeds
    }

    /// Makes the next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..=self.random.below(4) {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds.get(at).cloned().unwrap_or_default()
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.random.below(bound)).unwrap_or(0)
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len().saturating_add(1));
        let byte = u8::try_from(self.random.below(256)).unwrap_or(0);
        match self.random.below(6) {
            0 => input.truncate(at),
            1 => input.insert(at, byte),
            2 => {
                let count = usize::try_from(self.random.below(DOUBLED_BYTES_MAX)).unwrap_or(0);
                let tail: Vec<u8> = input.iter().skip(at).take(count).copied().collect();
                input.extend(tail);
            }
            3 => input.iter_mut().skip(at).take(1).for_each(|slot| *slot ^= 1 << (byte % 8)),
            4 => input.extend(self.seed()),
            _ => input.iter_mut().skip(at).take(8).for_each(|slot| *slot = byte),
        }
    }
}
