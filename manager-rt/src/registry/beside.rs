//! The key of a server that lies beside its socket.
//!
//! A server that was started without a path has a private folder, which only this user can read. A process of this user
//! that knows only the address finds the key there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mp_sys::key::Key;
use mp_sys::stream::own_user;

/// How the name of a server's private folder begins.
pub(crate) const PREFIX: &str = "mp-manager-";
/// The name of the key's file in that folder.
pub(crate) const KEY: &str = "key";

/// Returns `true` if a path is named like the private folder of a server.
pub(crate) fn is_folder_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Returns the key that the starter of a server left beside its socket.
pub(crate) fn key_beside(socket: &Path) -> Option<Key> {
    let folder = socket.parent().filter(|path| is_folder_name(path))?;
    let is_own = fs::metadata(folder).is_ok_and(|folder| folder.uid() == own_user());
    if is_own { fs::read(folder.join(KEY)).ok().map(Key::from) } else { None }
}
