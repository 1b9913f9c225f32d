//! The frequencies of words, in the dict of a manager: the third tier of the count.
//!
//! The parent starts the manager, a separate process, before it forks, or connects to one, and each worker opens its own connection. A worker
//! adds the words of an item in transactions of at most [`ENTRIES_AT_ONCE_MAX`] words, so that the manager serves others in
//! between. Each transaction claims its own key: item and part.
//!
//! # Why a word counts once
//! A worker may be killed while its transaction is on the way, and the item's next worker may send its own before the manager
//! has read the first. So one step must check whether the words were added and add them. The two transactions come in any
//! order: the second one finds the key claimed, and is refused as a whole. Both have the same words in the same parts, since
//! the words of an item are sorted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};

use mp::manager::limits::ENTRIES_AT_ONCE_MAX;
use mp::manager::proto::Fault;
use mp::manager::{Dict, Manager, ManagerBuilder, ObjectError, ReachError, StartError, TransactionError};

/// Why words are not counted. Another worker would get the same error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RankingError {
    #[error("the words have no room in the manager: count fewer files, or count without --top")]
    NoSpace,
    #[error("the words cannot be counted: {0}")]
    Transaction(TransactionError),
    #[error("the words cannot be counted: {0}")]
    Object(#[from] ObjectError),
    #[error("the words cannot be counted: {0}")]
    Start(#[from] StartError),
    #[error("the words cannot be counted: {0}")]
    Reach(#[from] ReachError),
}

/// The key of a part of an item: both numbers.
type Part = (u64, u64);

/// The words of one run.
#[derive(Debug)]
pub(crate) struct Ranking {
    manager: Manager,
    counts: Dict<String, u64>,
    /// The parts that were added, each with its number of words.
    added: Dict<Part, u64>,
    /// What the dicts are called in a manager that others use as well. One that was started ends with the run.
    names: Option<[String; 2]>,
}

/// The words that a run found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ranked {
    /// The most frequent words, most frequent first, ties by word.
    pub(crate) top: Vec<(String, u64)>,
    /// All words that were counted.
    pub(crate) words: u64,
    /// How many different words these are.
    pub(crate) distinct: u64,
    /// Transactions that added them.
    pub(crate) transactions: u64,
}

impl Ranking {
    /// Starts the manager.
    pub(crate) fn start(builder: ManagerBuilder) -> Result<Self, RankingError> {
        let manager = builder.start()?;
        let (counts, added) = (manager.dict()?, manager.dict()?);
        Ok(Self { manager, counts, added, names: None })
    }

    /// Connects to a manager that runs already, and makes dicts there that no other run has.
    pub(crate) fn connect(url: &str) -> Result<Self, RankingError> {
        let manager = Manager::connect(url)?;
        let run = RandomState::new().hash_one(0);
        let names = ["counts", "added"].map(|what| format!("tally {run:016x} {what}"));
        let (counts, added) = (manager.named(&names[0]).dict()?, manager.named(&names[1]).dict()?);
        Ok(Self { manager, counts, added, names: Some(names) })
    }

    /// Adds the words of an item. Changes nothing if they were added before.
    pub(crate) fn add(&self, item: usize, words: &[(String, u64)]) -> Result<(), RankingError> {
        for (part, words) in (0..).zip(words.chunks(ENTRIES_AT_ONCE_MAX)) {
            let key: Part = (item as u64, part);
            let sum = words.iter().map(|(_, count)| count).sum();
            let outcome = self.manager.transaction(|t| {
                let adds = words.iter().map(|(word, count)| (word, *count));
                (t.on(&self.added).claim(&key, &sum), t.on(&self.counts).add_many(adds))
            });
            match outcome {
                // A worker that was killed has done this part, or its request came first.
                Ok(((), ())) | Err(TransactionError::Refused(Fault::Exists)) => {}
                Err(TransactionError::Refused(fault)) if fault.is_no_space() => {
                    return Err(RankingError::NoSpace);
                }
                Err(error) => return Err(RankingError::Transaction(error)),
            }
        }
        Ok(())
    }

    /// Returns the `most` most frequent words. It reads all words, a page at a time, and keeps only so many.
    pub(crate) fn read(&self, most: usize) -> Result<Ranked, RankingError> {
        let (distinct, transactions) = (self.counts.len()? as u64, self.added.len()? as u64);
        let mut ranked = Ranked { distinct, transactions, ..Ranked::default() };
        let mut best = BinaryHeap::new();
        for entry in &mut self.counts.iter() {
            let (word, count) = entry?;
            ranked.words += count;
            // The greatest of the heap is the last of the ranking, which is removed first.
            best.push((Reverse(count), word));
            if best.len() > most {
                best.pop();
            }
        }
        ranked.top = best.into_sorted_vec().into_iter().map(|(Reverse(count), word)| (word, count)).collect();
        Ok(ranked)
    }

    /// Ends the manager, or removes what this run has left there.
    pub(crate) fn close(self) -> Result<(), RankingError> {
        let Self { manager, counts, added, names } = self;
        drop((counts, added));
        match names {
            Some(names) => names.iter().try_for_each(|name| manager.remove(name)),
            None => manager.shutdown(),
        }
        .map_err(ObjectError::from)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    #[test]
    fn an_item_that_comes_again_changes_nothing() {
        let ranking = Ranking::start(Manager::builder()).unwrap();
        let one = words(&[("bee", 2), ("ant", 2), ("cow", 1)]);
        ranking.add(0, &one).unwrap();
        ranking.add(1, &words(&[("cow", 5)])).unwrap();
        ranking.add(0, &one).unwrap();
        ranking.add(2, &[]).unwrap();
        let all = Ranked {
            top: words(&[("cow", 6), ("ant", 2), ("bee", 2)]),
            words: 10,
            distinct: 3,
            transactions: 2,
        };
        for most in 0..5 {
            let top = all.top.iter().take(most).cloned().collect();
            assert_eq!(ranking.read(most).unwrap(), Ranked { top, ..all.clone() }, "{most}");
        }
        ranking.close().unwrap();
    }

    #[test]
    fn an_item_that_was_added_in_part_is_completed() {
        let ranking = Ranking::start(Manager::builder()).unwrap();
        let many: Vec<_> = (0..2 * ENTRIES_AT_ONCE_MAX + 1).map(|n| (format!("{n:06}"), 1)).collect();
        // As if killed after the first part.
        ranking.add(7, &many[..ENTRIES_AT_ONCE_MAX]).unwrap();
        ranking.add(7, &many).unwrap();
        let ranked = ranking.read(usize::MAX).unwrap();
        assert_eq!(
            (ranked.words, ranked.distinct, ranked.transactions),
            (many.len() as u64, many.len() as u64, 3)
        );
        assert_eq!(ranked.top, many, "ties by word");
        ranking.close().unwrap();
    }

    #[test]
    fn words_without_room_are_an_error_that_says_so_and_leave_nothing() {
        let ranking = Ranking::start(Manager::builder().memory_bytes_max(512 << 10)).unwrap();
        let many: Vec<_> = (0..ENTRIES_AT_ONCE_MAX).map(|n| (format!("{n:050}"), 1)).collect();
        let error = ranking.add(0, &many).unwrap_err();
        assert!(error.to_string().starts_with("the words have no room in the manager"), "{error}");
        assert_eq!(ranking.read(1).unwrap(), Ranked::default());
        ranking.add(0, &words(&[("few", 1)])).unwrap();
        ranking.close().unwrap();
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error() {
        let ranking = Ranking::start(Manager::builder()).unwrap();
        ranking.manager.shutdown().unwrap();
        let error = ranking.add(0, &words(&[("word", 1)])).unwrap_err();
        assert!(error.to_string().contains("server is gone"), "{error}");
    }
}
