//! Keys in files.
//!
//! Whoever can read the key of a manager can do everything there, and whoever can replace it decides who else may. So [`read`] looks at
//! the owner and the mode of a file before it uses the key in it. It checks the open file and not its path, which may lead to another file
//! a moment later. The bytes are read into one buffer, which never moves, becomes the [`Key`], and is overwritten.
//!
//! Source: libpq, which accepts a private key of root that a group may read, and otherwise one of mode 0600 or less; its server, which also
//! compares the owner; systemd.exec(5) `LoadCredential=`, and the secrets of Kubernetes: files of root with mode 0440.

use std::fmt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::retry_on_intr;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::Key;
use crate::OsError;
use crate::descriptors::open;

/// The longest key in a file, in bytes.
pub const KEY_BYTES_MAX: usize = 2_048;

/// A line break at the end of a key file does not belong to the key.
const LINE_BREAK_BYTES_MAX: usize = 2;
/// How many bytes a key file has at most.
const FILE_BYTES_MAX: usize = KEY_BYTES_MAX + LINE_BREAK_BYTES_MAX;

/// What nobody but the owner may do: the bits of the group and of others.
const OTHERS: u32 = 0o077;
/// The same for a file of root: a group may read it.
const OTHERS_BUT_READERS: u32 = 0o037;
const ROOT: u32 = 0;

/// Why the key in a file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The error of open(2), fstat(2) or read(2).
    #[error(transparent)]
    System(#[from] OsError),
    /// Other users can read the file or replace what is in it.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// There is no key in it.
    #[error("it is empty")]
    Empty,
    /// There are more bytes in it than a key has.
    #[error("a key has at most {KEY_BYTES_MAX} bytes")]
    TooLong,
}

/// How other users have access to a file. Its text continues a sentence about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposed {
    /// The mode of the file, without its type.
    pub mode: u32,
    /// The number of the user to whom the file belongs.
    pub owner: u32,
}

impl Exposed {
    /// Returns how others than this user have access to a file, if they do.
    const fn of(mode: u32, owner: u32, user: u32) -> Option<Self> {
        let exposed = match owner {
            ROOT => mode & OTHERS_BUT_READERS != 0,
            _ => owner != user || mode & OTHERS != 0,
        };
        if exposed { Some(Self { mode, owner }) } else { None }
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, owner } = self;
        match *owner {
            ROOT => write!(
                f,
                "other users have access to it (mode {mode:04o}): chmod 600, or 640 if only its group may read it"
            ),
            _ if mode & OTHERS != 0 => {
                write!(f, "other users have access to it (mode {mode:04o}): chmod 600")
            }
            _ => write!(
                f,
                "it belongs to another user (number {owner}): chown it to the user of this process, or to root"
            ),
        }
    }
}

impl std::error::Error for Exposed {}

/// Reads the key in a file: its bytes, without a line break at the end.
///
/// # Errors
/// [`KeyFileError`].
pub fn read(path: &Path) -> Result<Key, KeyFileError> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(OsError::from)?;
    let stat = fstat(&file).map_err(OsError::from)?;
    let mode = Mode::from_raw_mode(stat.st_mode).bits();
    if let Some(exposed) = Exposed::of(mode, stat.st_uid, geteuid().as_raw()) {
        return Err(exposed.into());
    }
    // One byte more shows that the file is too long.
    let mut bytes = Zeroizing::new(vec![0; FILE_BYTES_MAX + 1]);
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match retry_on_intr(|| rustix::io::read(&file, &mut *rest)).map_err(OsError::from)? {
            0 => break,
            count => len = len.saturating_add(count),
        }
    }
    if len > FILE_BYTES_MAX {
        return Err(KeyFileError::TooLong);
    }
    bytes.truncate(len);
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    match bytes.len() {
        0 => Err(KeyFileError::Empty),
        1..=KEY_BYTES_MAX => Ok(Key(bytes)),
        _ => Err(KeyFileError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_used_if_only_its_owner_has_access_or_also_readers_whom_root_chose() {
        let (user, other) = (1000, 1001);
        for (mode, owner, is_used) in [
            (0o600, user, true),
            (0o400, user, true),
            (0o700, user, true),
            (0o440, user, false),
            (0o604, user, false),
            (0o610, user, false),
            (0o602, user, false),
            (0o4640, user, false),
            (0o600, ROOT, true),
            (0o440, ROOT, true),
            (0o640, ROOT, true),
            (0o660, ROOT, false),
            (0o650, ROOT, false),
            (0o644, ROOT, false),
            (0o641, ROOT, false),
            (0o600, other, false),
            (0o640, other, false),
        ] {
            let expected = if is_used { None } else { Some(Exposed { mode, owner }) };
            assert_eq!(Exposed::of(mode, owner, user), expected, "{mode:o} of {owner}");
        }
        assert_eq!(Exposed::of(0o640, ROOT, ROOT), None);
        assert_eq!(Exposed::of(0o600, user, ROOT), Some(Exposed { mode: 0o600, owner: user }));
    }

    #[test]
    fn the_text_says_what_is_wrong_and_what_to_do() {
        let text = |mode, owner| Exposed { mode, owner }.to_string();
        for (text, says) in [
            (text(0o4640, 1000), ["mode 4640", "chmod 600"]),
            (text(0o644, ROOT), ["mode 0644", "640 if only its group"]),
            (text(0o600, 1001), ["number 1001", "chown"]),
        ] {
            assert!(says.iter().all(|says| text.contains(says)), "{text}");
        }
    }
}
