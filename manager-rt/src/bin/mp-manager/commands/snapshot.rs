//! `snapshot`: writes all objects that have names to a file on the server's host.

use crate::args::Snapshot;
use crate::failure::Failure;
use crate::target::Connection;

/// Has the server write a snapshot, and waits until it is on the disk.
pub(crate) fn run(options: &Snapshot) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let written = connection.manager.snapshot(&options.file);
    written.map_err(|error| {
        let what = format!("no snapshot of {} in {}", connection.address(), error.path.display());
        Failure::of_call(&what, &error.error)
    })
}
