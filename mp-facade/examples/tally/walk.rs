//! The search for files, before the first worker starts.
//!
//! The list is an ordinary `Vec`. Workers are forked later, so each of them gets it without a message.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use walkdir::{DirEntry, WalkDir};

use crate::report::printable;

/// Larger files are counted in ranges of this size, so that one large file keeps all workers busy. 4 MiB take a few
/// milliseconds: long compared with handing out a range, and short enough that a kill wastes little work.
pub(crate) const RANGE_BYTES: u64 = 4 << 20;
/// Folders that are left out, because their contents are made from the other files.
const SKIPPED: [&str; 2] = [".git", "target"];
/// Files between two looks of the progress bar at the clock.
const FILES_PER_TICK: usize = 256;

/// One task of a worker: a range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    /// Which of [`Tree::paths`].
    pub(crate) path: usize,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Everything that will be counted.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Regular files.
    pub(crate) paths: Vec<PathBuf>,
    /// Their ranges; those of one file are neighbours, in order. An empty file has one.
    pub(crate) items: Vec<Item>,
    /// Folders and files that could not be looked at, and why.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
    /// Sum of the items' lengths.
    pub(crate) bytes: u64,
}

/// Refuses paths that are not there.
pub(crate) fn check(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        match fs::metadata(path) {
            // It may exist, so it will be listed as unreadable.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error).with_context(|| printable(path)),
            Ok(_) => {}
        }
    }
    Ok(())
}

impl Tree {
    /// Finds all files at and below `paths`.
    pub(crate) fn walk(paths: &[PathBuf], bar: &ProgressBar) -> Self {
        let mut tree = Self::default();
        for path in paths {
            match fs::metadata(path) {
                Ok(found) if found.is_file() => tree.add_file(path.clone(), found.len()),
                Ok(found) if found.is_dir() => tree.add_folder(path, bar),
                // Neither a file nor a folder: nothing to count.
                Ok(_) => {}
                Err(error) => tree.add_unreadable(path.clone(), &error),
            }
        }
        tree
    }

    fn add_folder(&mut self, folder: &Path, bar: &ProgressBar) {
        for entry in WalkDir::new(folder).into_iter().filter_entry(|entry| !is_skipped(entry)) {
            let found = entry.and_then(|entry| {
                let length = entry.metadata()?.len();
                Ok((entry.file_type().is_file(), entry.into_path(), length))
            });
            match found {
                Ok((true, path, length)) => self.add_file(path, length),
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    self.add_unreadable(path, &error.into());
                }
            }
            if self.paths.len().is_multiple_of(FILES_PER_TICK) {
                bar.set_position(self.paths.len() as u64);
            }
        }
    }

    pub(crate) fn add_file(&mut self, path: PathBuf, bytes: u64) {
        let index = self.paths.len();
        self.paths.push(path);
        self.bytes += bytes;
        let mut offset = 0;
        loop {
            let length = RANGE_BYTES.min(bytes - offset);
            self.items.push(Item { path: index, offset, length });
            offset += length;
            if offset >= bytes {
                break;
            }
        }
    }

    fn add_unreadable(&mut self, path: PathBuf, error: &io::Error) {
        // walkdir's own message repeats the path.
        let reason = error.raw_os_error().map(io::Error::from_raw_os_error);
        self.unreadable.insert(path, reason.as_ref().unwrap_or(error).to_string());
    }
}

fn is_skipped(entry: &DirEntry) -> bool {
    // Paths on the command line are counted, whatever their names.
    entry.depth() > 0 && entry.file_type().is_dir() && SKIPPED.iter().any(|name| entry.file_name() == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_cut_into_ranges_that_cover_them() {
        for (bytes, lengths) in [
            (0, vec![0]),
            (1, vec![1]),
            (RANGE_BYTES, vec![RANGE_BYTES]),
            (RANGE_BYTES + 1, vec![RANGE_BYTES, 1]),
            (3 * RANGE_BYTES, vec![RANGE_BYTES; 3]),
        ] {
            let mut tree = Tree::default();
            tree.add_file(PathBuf::from("first"), 5);
            tree.add_file(PathBuf::from("second"), bytes);
            let items = &tree.items[1..];
            assert_eq!(items.iter().map(|item| item.length).collect::<Vec<_>>(), lengths);
            let mut end = 0;
            for item in items {
                assert_eq!((item.path, item.offset), (1, end));
                end += item.length;
            }
            assert_eq!((end, tree.bytes), (bytes, bytes + 5));
        }
    }

    #[test]
    fn a_path_that_is_not_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(check(&[folder.path().to_path_buf()]).is_ok());
        let error = check(&[folder.path().to_path_buf(), absent.clone()]).unwrap_err();
        assert!(
            format!("{error:#}").starts_with(&format!("{}: No such file", absent.display())),
            "{error:#}"
        );
    }

    #[test]
    fn a_folder_that_vanished_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        let tree = Tree::walk(&[absent.clone(), folder.path().to_path_buf()], &ProgressBar::hidden());
        assert!(tree.items.is_empty());
        assert_eq!(tree.unreadable.keys().collect::<Vec<_>>(), [&absent]);
    }
}
