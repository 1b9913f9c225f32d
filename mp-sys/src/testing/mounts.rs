//! File systems for one test, in a mount namespace that no other process sees: with programs that may not be executed,
//! or with a /proc that is missing or leads elsewhere.
//!
//! An unprivileged process also makes a user namespace, in which it is privileged.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::thread::UnshareFlags;

use crate::testing::namespace::unshare;

/// Gives the calling process, which has one thread, its own mounts. What it mounts after that disappears together with
/// it and its children.
///
/// # Errors
/// A text, if the system does not permit it.
pub fn enter_new_namespace() -> Result<(), String> {
    let refused = |errno| format!("no new mount namespace: {errno}");
    match unshare(UnshareFlags::NEWNS) {
        Err(Errno::PERM) => {
            let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(refused)?;
            let files = [
                ("setgroups", "deny".to_owned()),
                ("uid_map", format!("0 {user} 1")),
                ("gid_map", format!("0 {group} 1")),
            ];
            for (file, text) in files {
                std::fs::write(format!("/proc/self/{file}"), text)
                    .map_err(|error| format!("{file}: {error}"))?;
            }
        }
        other => other.map_err(refused)?,
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|errno| format!("mounts are not private: {errno}"))
}

/// Mounts an empty file system in memory over a folder.
///
/// # Errors
/// Those of mount(2).
pub fn cover(folder: &Path) -> Result<(), Errno> {
    cover_with(folder, c"size=256m")
}

/// Like [`cover`], with options of tmpfs(5), such as a size.
///
/// # Errors
/// Those of mount(2).
pub fn cover_with(folder: &Path, options: &std::ffi::CStr) -> Result<(), Errno> {
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(options))
}

/// Removes what [`cover`] mounted.
///
/// # Errors
/// Those of umount(2).
pub fn uncover(folder: &Path) -> Result<(), Errno> {
    unmount(folder, UnmountFlags::DETACH)
}

/// Sets whether programs in a file system that [`cover`] mounted may be executed.
///
/// # Errors
/// Those of mount(2).
pub fn permit_exec(folder: &Path, permit: Exec) -> Result<(), Errno> {
    let flags = match permit {
        Exec::Permitted => MountFlags::BIND,
        Exec::Forbidden => MountFlags::BIND | MountFlags::NOEXEC,
    };
    mount_remount(folder, flags, "")
}

/// What [`permit_exec`] sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exec {
    /// As usual.
    Permitted,
    /// `noexec`.
    Forbidden,
}
