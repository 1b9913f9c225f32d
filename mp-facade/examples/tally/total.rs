//! Adding up, when all items are finished.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::count::Counts;
use crate::share::{Shared, State};
use crate::walk::Tree;

/// What was counted in the whole tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) counts: Counts,
    /// What could not be read, and why. None of it is in the counts.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
}

impl Totals {
    /// Adds up the items, file by file: a file with a range that could not be read does not count at all.
    pub(crate) fn sum(tree: &Tree, shared: &Shared) -> Result<Self> {
        let mut totals = Self { unreadable: tree.unreadable.clone(), ..Self::default() };
        let mut item = 0;
        for ranges in tree.items.chunk_by(|one, next| one.path == next.path) {
            let mut file = Counts::default();
            let mut errno = None;
            for _ in ranges {
                match shared.state(item)? {
                    State::Done => file += shared.record(item)?,
                    State::Unreadable(number) => errno = Some(number),
                    state @ (State::Free | State::Claimed(_)) => {
                        bail!("item {item} is not finished: {state:?}")
                    }
                }
                item += 1;
            }
            match (errno, ranges.first()) {
                (Some(errno), Some(range)) => {
                    let reason = io::Error::from_raw_os_error(i32::try_from(errno)?).to_string();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::RANGE_BYTES;

    const ONE: Counts = Counts { bytes: 1, lines: 1, words: 1, letters: [1; 26] };

    /// A small file, one of three ranges, another small one.
    fn tree() -> (Tree, Shared) {
        let mut tree = Tree::default();
        tree.add_file(PathBuf::from("first"), 1);
        tree.add_file(PathBuf::from("large"), 2 * RANGE_BYTES + 1);
        tree.add_file(PathBuf::from("last"), 0);
        let shared = Shared::new(tree.items.len()).unwrap();
        for item in 0..shared.items() {
            shared.write_record(item, ONE).unwrap();
            shared.commit(item, State::Done).unwrap();
        }
        (tree, shared)
    }

    #[test]
    fn ranges_of_one_file_are_one_file() {
        let (tree, shared) = tree();
        let totals = Totals::sum(&tree, &shared).unwrap();
        assert_eq!((totals.files, totals.counts.bytes, totals.counts.letters[25]), (3, 5, 5));
        assert!(totals.unreadable.is_empty());
    }

    #[test]
    fn a_file_with_an_unreadable_range_does_not_count_and_is_listed_once() {
        for ranges in [vec![1], vec![3], vec![1, 2, 3]] {
            let (tree, shared) = tree();
            for range in ranges {
                shared.commit(range, State::Unreadable(5)).unwrap();
            }
            let totals = Totals::sum(&tree, &shared).unwrap();
            assert_eq!((totals.files, totals.counts.bytes), (2, 2));
            assert_eq!(totals.unreadable.keys().collect::<Vec<_>>(), [&PathBuf::from("large")]);
        }
    }

    #[test]
    fn nothing_is_added_up_before_all_is_finished() {
        let (tree, _) = tree();
        let shared = Shared::new(tree.items.len()).unwrap();
        assert!(Totals::sum(&tree, &shared).is_err());
    }
}
