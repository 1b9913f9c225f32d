//! Key files: `keygen`, and what the program says of a file that it cannot use.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use manager_rt::{Key, ReachError};
use mp_sys::descriptors;
use mp_sys::key::file::{self, Exposed, KeyFileError};
use mp_sys::key::wipe;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::failure::Failure;

/// Only the owner may read and write.
const MODE: u32 = 0o600;

/// Reads the key in a file: its bytes, without a line break at the end.
///
/// # Errors
/// [`Failure::Failed`].
pub(crate) fn read(path: &Path) -> Result<Key, Failure> {
    file::read(path).map_err(|error| {
        let why = match error {
            KeyFileError::Exposed(Exposed { mode, owner }) => {
                let error = ReachError::KeyExposed { path: path.to_owned(), mode, owner };
                return Failure::Failed(error.to_string());
            }
            KeyFileError::System(error) if error == Errno::NOENT.into() => {
                "there is no such file; make one with `mp-manager keygen FILE`".to_owned()
            }
            error => error.to_string(),
        };
        Failure::Failed(format!("the key file {}: {why}", path.display()))
    })
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
