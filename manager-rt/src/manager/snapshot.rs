//! Snapshots of all named objects.

use std::path::{Path, PathBuf};

use mp_sys::identity::thread_number;

use crate::backend::CallError;
use crate::count::count_of;
use crate::limits::FILE_PATH_BYTES_MAX;
use crate::manager::Manager;
use crate::proto::{Call, Fault, ManagerOp, ObjectId, Op, Wait};

/// Why a snapshot was not saved. The file is the previous one, or the complete new one: see [`Fault::NotSaved`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no snapshot in {}: {error}", path.display())]
pub struct SnapshotError {
    /// The file.
    pub path: PathBuf,
    /// The reason. [`Fault::NotSaved`] has the error of the system.
    #[source]
    pub error: CallError,
}

impl Manager {
    /// Writes all objects that have names, and those to which their values refer, to a file on the server's host. A server that
    /// begins with [`restore`](crate::ServerBuilder::restore) has them again. Any previous file is replaced at once, by a
    /// complete one or not at all.
    ///
    /// The snapshot shows all objects as they were at one moment. The server goes on serving meanwhile: a copy of its process
    /// writes the file, and the call returns once it is on the disk. If an embedded server runs in a program with
    /// other threads, it writes the file itself, and its clients wait.
    ///
    /// | kept | not kept |
    /// |---|---|
    /// | contents of lists, dicts, namespaces, values and arrays | objects without a name to which no saved value refers |
    /// | items of queues; tasks in work, as queued again; failed tasks | items that a client has taken out of a queue and not confirmed |
    /// | locks, semaphores, events, barriers and conditions, as if all clients had ended | holders, waiting calls, leases, places at barriers |
    /// | names, and proxies inside values | proxies on their way in messages; connections |
    ///
    /// Programs that were connected before the restart connect again: their proxies are [`CallError::Restarted`].
    ///
    /// Only a program on the server's host may ask for a snapshot, since it names a file there; another one gets
    /// [`Fault::Unauthorised`]. The file is readable for the server's user only. If the path is that of a symbolic link, the file
    /// to which it leads is replaced. The name of the file has at most
    /// [`FILE_NAME_BYTES_MAX`](crate::limits::FILE_NAME_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// [`SnapshotError`], with [`Fault::NotSaved`] if the file cannot be written (`EBUSY` while another process writes to it, or
    /// another server keeps its objects there; `ETIMEDOUT` after
    /// [`save_time_max`](crate::ServerBuilder::save_time_max); `ECANCELED` if the server ends first), [`Fault::TooMany`] if more than
    /// [`SNAPSHOTS_WAITING_MAX`](crate::limits::SNAPSHOTS_WAITING_MAX) calls wait for snapshots, and [`Fault::Unsupported`]
    /// from a manager in the memory of a process.
    ///
    /// # Crash
    /// If the server is killed, the file is the previous one or the new one. A file whose name ends with `.mp-new` may be left
    /// beside it, which the next snapshot removes.
    ///
    /// # Source
    /// Redis, `BGSAVE`.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::Manager;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let file = folder.path().join("manager.snapshot");
    /// let manager = Manager::start()?;
    /// manager.named("words").dict::<String, u64>()?.insert("hello", &1)?;
    /// manager.snapshot(&file)?;
    /// manager.shutdown()?;
    ///
    /// let manager = Manager::builder().restore(&file).start()?;
    /// assert_eq!(manager.named("words").dict::<String, u64>()?.get("hello")?, Some(1));
    /// # manager.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self, path: impl AsRef<Path>) -> Result<(), SnapshotError> {
        let path = path.as_ref();
        self.ask_for_snapshot(path).map_err(|error| SnapshotError { path: path.to_owned(), error })
    }

    fn ask_for_snapshot(&self, path: &Path) -> Result<(), CallError> {
        // The server has another working folder.
        let absolute = std::path::absolute(path).map_err(|error| CallError::System(error.into()))?;
        let bad_name = Fault::BadName { limit: count_of(FILE_PATH_BYTES_MAX) };
        let path = absolute.to_str().ok_or(bad_name)?.to_owned();
        let op = Op::Manager(ManagerOp::Snapshot { path });
        let call = Call { object: ObjectId::MANAGER, thread: thread_number(), wait: Wait::Forever, op };
        self.backend().call(call).map(drop)
    }
}
