//! The sums, when all items are finished.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::count::Counts;
use crate::share::{Shared, State};
use crate::walk::Tree;

/// The counts of the whole tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) counts: Counts,
    /// Files that could not be read, and why. They are not in the counts.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
}

impl Totals {
    /// Adds up the items, file by file: a file with a range that could not be read does not count at all.
    pub(crate) fn sum(tree: &Tree, shared: &Shared) -> Result<Self> {
        let mut totals = Self { unreadable: tree.unreadable.clone(), ..Self::default() };
        let mut item = 0;
        for ranges in tree.items.chunk_by(|one, next| one.path == next.path) {
            let mut file = Counts::default();
            let mut reason = None;
            for _ in ranges {
                match shared.state(item)? {
                    State::Done => file += shared.record(item)?,
                    State::Unreadable(errno) => {
                        reason = Some(io::Error::from_raw_os_error(i32::try_from(errno)?).to_string());
                    }
                    State::GivenUp(deliveries) => {
                        reason = Some(format!("{deliveries} workers ended while they counted it"));
                    }
                    State::Open => bail!("item {item} is not finished"),
                }
                item += 1;
            }
            match (reason, ranges.first()) {
                (Some(reason), Some(range)) => {
                    totals.unreadable.insert(tree.paths[range.path].clone(), reason);
                }
                _ => {
                    totals.files += 1;
                    totals.counts += file;
                }
            }
        }
        Ok(totals)
    }
}

/// What each tier did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiers {
    /// Shared memory: the number of results there, and the bytes of all of them.
    pub(crate) results: u64,
    pub(crate) result_bytes: u64,
    /// Kernel objects: tasks that went through the queue.
    pub(crate) tasks: u64,
    /// The number of times that tasks were handed out.
    pub(crate) deliveries: u64,
    /// Tasks that were put aside, since each of their workers died.
    pub(crate) put_aside: u64,
}

impl Tiers {
    /// Adds up the items when all are finished. A worker records its delivery of an item before it finishes the item.
    pub(crate) fn sum(shared: &Shared) -> Result<Self> {
        let mut tiers = Self { result_bytes: shared.bytes() as u64, ..Self::default() };
        for item in 0..shared.items() {
            tiers.tasks += 1;
            tiers.deliveries += u64::from(shared.deliveries(item)?);
            match shared.state(item)? {
                State::GivenUp(_) => tiers.put_aside += 1,
                _ => tiers.results += 1,
            }
        }
        Ok(tiers)
    }

    /// Returns how often tasks were handed out again.
    pub(crate) fn redone(&self) -> u64 {
        self.deliveries - self.tasks
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::walk::RANGE_BYTES;

    const ONE: Counts = Counts { bytes: 1, lines: 1, words: 1, letters: [1; 26] };

    /// A small file, one of three ranges, another small one. All is done but these items.
    fn tree_but(open: &[usize]) -> (Tree, Shared) {
        let mut tree = Tree::default();
        tree.add_file(PathBuf::from("first"), 1);
        tree.add_file(PathBuf::from("large"), 2 * RANGE_BYTES + 1);
        tree.add_file(PathBuf::from("last"), 0);
        let shared = Shared::new(tree.items.len(), 1).unwrap();
        for item in (0..shared.items()).filter(|item| !open.contains(item)) {
            shared.note_delivery(item, 1).unwrap();
            shared.write_record(item, ONE).unwrap();
            assert!(shared.commit(item, State::Done).unwrap());
        }
        (tree, shared)
    }

    #[test]
    fn ranges_of_one_file_are_one_file() {
        let (tree, shared) = tree_but(&[]);
        let totals = Totals::sum(&tree, &shared).unwrap();
        assert_eq!((totals.files, totals.counts.bytes, totals.counts.letters[25]), (3, 5, 5));
        assert!(totals.unreadable.is_empty());
    }

    #[test]
    fn a_file_with_an_unreadable_range_does_not_count_and_is_listed_once() {
        for ranges in [&[1][..], &[3], &[1, 2, 3]] {
            for state in [State::Unreadable(5), State::GivenUp(7)] {
                let (tree, shared) = tree_but(ranges);
                for range in ranges {
                    assert!(shared.commit(*range, state).unwrap());
                }
                let totals = Totals::sum(&tree, &shared).unwrap();
                assert_eq!((totals.files, totals.counts.bytes), (2, 2));
                assert_eq!(totals.unreadable.keys().collect::<Vec<_>>(), [&PathBuf::from("large")]);
            }
        }
    }

    #[test]
    fn nothing_is_added_up_before_all_is_finished() {
        let (tree, shared) = tree_but(&[4]);
        assert!(Totals::sum(&tree, &shared).is_err());
    }

    #[test]
    fn tasks_count_as_often_as_they_were_handed_out() {
        let (_, shared) = tree_but(&[4]);
        shared.note_delivery(2, 3).unwrap();
        shared.note_delivery(4, 11).unwrap();
        assert!(shared.commit(4, State::GivenUp(11)).unwrap());
        let tiers = Tiers::sum(&shared).unwrap();
        assert_eq!((tiers.tasks, tiers.results, tiers.put_aside), (5, 4, 1));
        assert_eq!((tiers.deliveries, tiers.redone()), (17, 12));
        assert_eq!(tiers.result_bytes, 5 * (29 + 1) * 8 + 5 * 4);
    }
}
