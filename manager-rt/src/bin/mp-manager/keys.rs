//! Key files.
//!
//! Whoever can read the key of a manager can do everything there. So, as ssh does, a key file that others may read or replace is
//! refused: its mode must have no bit for the group or for others. The open file is checked, not its path, which may lead to
//! another file a moment later.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use manager_rt::Key;
use manager_rt::limits::KEY_BYTES_MAX;
use mp_sys::descriptors;
use mp_sys::key::wipe;
use rustix::fs::{Mode, OFlags};

use crate::failure::Failure;

/// Only the owner may read and write.
const MODE: u32 = 0o600;
/// The bits of a mode that let others do something.
const OTHERS: u32 = 0o077;
/// A line break at the end of a key file does not belong to the key.
const LINE_BREAK_BYTES_MAX: usize = 2;

/// Reads the key in a file: its bytes, without a line break at the end.
///
/// # Errors
/// [`Failure::Failed`].
pub(crate) fn read(path: &Path) -> Result<Key, Failure> {
    let failed =
        |why: &dyn std::fmt::Display| Failure::Failed(format!("the key file {}: {why}", path.display()));
    let file = open(path, OFlags::RDONLY).map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed(&"there is no such file; make one with `mp-manager keygen FILE`"),
        _ => failed(&error),
    })?;
    let mode = file.metadata().map_err(|error| failed(&error))?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        let how = format_args!("chmod 600 {}", path.display());
        return Err(failed(&format_args!(
            "other users have access to it (mode {mode:04o}), so it is not used: {how}"
        )));
    }
    // With this capacity the buffer never moves, so no copy of the key stays behind.
    let most = KEY_BYTES_MAX + LINE_BREAK_BYTES_MAX;
    let mut bytes = Vec::with_capacity(most + 1);
    let count = file.take(u64::try_from(most + 1).unwrap_or(u64::MAX)).read_to_end(&mut bytes);
    count.map_err(|error| failed(&error))?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    let key = Key::from(bytes);
    match key.as_bytes().len() {
        0 => Err(failed(&"it is empty")),
        len if len > KEY_BYTES_MAX => Err(failed(&format_args!("a key has at most {KEY_BYTES_MAX} bytes"))),
        _ => Ok(key),
    }
}

/// Makes a file with a random key. The file and its name are on the disk when this returns.
///
/// # Errors
/// [`Failure::Failed`]. If the file exists, it stays as it is. Otherwise there is no file.
pub(crate) fn make(path: &Path) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("the key file {}: {error}", path.display()));
    let key = Key::random().map_err(|error| failed(&error))?;
    let file =
        open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => failed(&"it exists already, and is never replaced"),
            _ => failed(&error),
        })?;
    let mut text: Vec<u8> = Vec::with_capacity(key.as_bytes().len() * 2 + 1);
    for byte in key.as_bytes() {
        // Writing to a `Vec` cannot fail.
        drop(write!(text, "{byte:02x}"));
    }
    text.push(b'\n');
    let written = save(&file, &text, path);
    wipe(&mut text);
    written.map_err(|error| {
        drop(fs::remove_file(path));
        failed(&error)
    })
}

fn save(mut file: &File, text: &[u8], path: &Path) -> io::Result<()> {
    // The mode of a new file depends on the umask, which may even lock out the owner.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text)?;
    file.sync_all()?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    open(folder, OFlags::RDONLY | OFlags::DIRECTORY)?.sync_all()
}

/// Opens a file. A new one is its owner's only.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let mode = Mode::from_raw_mode(MODE);
    Ok(descriptors::open(path, flags | OFlags::CLOEXEC, mode).map(File::from)?)
}
