//! A manager's server in a separate process.
//!
//! The server is started by executing this program again (see `mp_sys::reexec`). That needs no line in `main` and no
//! fork, so other threads of this process do not matter. The server receives its settings in one packet, binds a socket
//! in a private folder, reports that in one packet, and then serves. Each side waits for a message or the death of the
//! other, never for a message alone.
//!
//! The server ends when its parent ends, or when a client asks it to, and then removes its folder. A killed server
//! leaves the folder. The process that started it removes the folder when it drops its [`ServerProcess`], and the next
//! start of any server removes folders whose lock nobody holds. A server that outlives the program that started it is in
//! `detached`.

mod child;
mod detached;
mod folder;
mod order;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mp_sys::child::{ChildProcess, Ended};
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::key::{Key, wipe};
use mp_sys::reexec::{Command, HelloError, StartError as ExecError, first_packet};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub(crate) use self::detached::{Begun, begin};
use self::folder::Folder;
pub(crate) use self::order::Order;
use self::order::PassedKey;
use crate::OsError;
use crate::address::{Address, AddressError};
use crate::count::index_of;
use crate::limits::{
    END_TIME_MAX, FILE_PATH_BYTES_MAX, KEY_BYTES_MAX, KEYS_MAX, REMOTE_KEY_BYTES_MIN, SAVE_TIME_MAX,
};
use crate::proto::Fault;
use crate::server::{BindError, outcome_of};

/// The longest packet between the two processes while the server starts, in bytes: all keys, the paths of two files, and the
/// rest.
const PACKET_BYTES_MAX: usize = KEYS_MAX * KEY_BYTES_MAX + 2 * FILE_PATH_BYTES_MAX + 4_096;
/// What is wrong with a message that is not understood.
const UNKNOWN: &str = "it sent something that no server sends";
/// The head of every packet between the two processes.
const HEAD: Head = Head { word: u32::from_le_bytes(*b"mngr"), long: 1 };

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The process could not be started, for this reason.
    #[error("the server cannot be started: {0}")]
    Process(String),
    /// The process ended in this way before it served.
    #[error("the server ended while it started: {0}")]
    Ended(String),
    /// The process did not serve within [`START_TIME_MAX`](crate::limits::START_TIME_MAX), or within [`SAVE_TIME_MAX`] if it
    /// restores its objects, and was killed.
    #[error("the server did not start in time")]
    TimedOut,
    /// The objects in a file cannot be restored. The text names the file and the reason.
    #[error("{0}")]
    Restore(String),
    /// The server could not listen at its socket.
    #[error("the server cannot listen: {0}")]
    Bind(String),
    /// A server that outlives this program needs a [`path`](crate::ManagerBuilder::path), at which others find it.
    #[error("a server that outlives this program needs a path at which others find it")]
    NoPath,
    /// No private folder for the socket could be made.
    #[error("there is no folder for the server's socket: {0}")]
    Folder(#[source] OsError),
    /// The key is left beside the socket, but a file of this process may not be that long (`RLIMIT_FSIZE`).
    #[error("the limit of {limit} bytes for files (RLIMIT_FSIZE) leaves no room for the server's key")]
    FileSizeLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The key has more bytes than [`KEY_BYTES_MAX`].
    #[error("the key has {bytes} bytes, the limit is {limit}", limit = KEY_BYTES_MAX)]
    KeyTooLong {
        /// The length of the key, in bytes.
        bytes: usize,
    },
    /// A server that other hosts reach needs a key of at least
    /// [`REMOTE_KEY_BYTES_MIN`] bytes. (Feature `tcp`.)
    #[error(
        "a key of {bytes} bytes is too short for a server that other hosts reach, which needs {REMOTE_KEY_BYTES_MIN}"
    )]
    KeyTooShort {
        /// The length of the key, in bytes.
        bytes: usize,
    },
    /// More keys were set than a server accepts.
    #[error("{keys} keys are more than a server accepts, which is {KEYS_MAX}")]
    TooManyKeys {
        /// The number of keys.
        keys: usize,
    },
    /// The path or the port is not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server was started, but cannot be reached.
    #[error("the server cannot be reached: {0}")]
    Connect(#[from] crate::client::ConnectError),
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] OsError),
}

/// Converts the error of a start. This is a function because no public signature may contain another crate's error.
fn not_started(error: &ExecError) -> StartError {
    StartError::Process(error.to_string())
}

/// Converts the error of waiting for the child's message.
fn not_heard(error: HelloError) -> StartError {
    match error {
        HelloError::Ended(ended) => StartError::Ended(described(ended)),
        HelloError::TimedOut => StartError::TimedOut,
        HelloError::System(error) => StartError::System(error),
        other => StartError::Process(other.to_string()),
    }
}

fn described(ended: Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signaled(signal) => format!("signal {signal}"),
        other => format!("{other:?}"),
    }
}

/// What the server reports.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Serves {
        /// The most clients.
        clients: u64,
        /// The address at which other hosts reach it.
        tcp: Option<String>,
    },
    Failed(String),
    /// Another server listens at this path.
    Exists,
    /// The objects in a file cannot be restored.
    NotRestored(String),
    /// To a server that outlives this process: it is to serve. And its answer: it no longer ends with this process.
    Go,
}

/// The process of a server and its folder.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: ChildProcess,
    address: Address,
    key: Key,
    folder: Mutex<Option<Folder>>,
    /// Whether the server saves its objects when it ends.
    saves: bool,
    /// The most clients.
    clients_max: usize,
    /// The address at which other hosts reach it.
    tcp_address: Option<String>,
    /// The process that started it.
    epoch: Epoch,
}

impl ServerProcess {
    /// Starts a server, and waits until it serves.
    ///
    /// # Errors
    /// [`StartError`]. Then no process is left running.
    pub(crate) fn start(mut order: Order) -> Result<Self, StartError> {
        folder::sweep();
        let folder = order.folder.take();
        let address = Address::local(&order.path)?;
        let command = Command::new(child::serve).map_err(|error| not_started(&error))?;
        let started = command.label("manager").silent().start();
        let (child, endpoint) = started.map_err(|error| not_started(&error))?;
        // From here on, any failure kills the process and removes the folder.
        let (key, folder) = (order.key.clone(), Mutex::new(folder));
        let epoch = Epoch::current();
        let saves = order.keep.is_some();
        let mut process =
            Self { child, address, key, folder, saves, clients_max: 0, tcp_address: None, epoch };
        let started = process.tell(&endpoint, &order);
        if started.is_err() {
            process.kill();
        }
        (process.clients_max, process.tcp_address) = started?;
        Ok(process)
    }

    /// Sends the settings, and waits until the server serves. Returns how many clients it can have, and where other hosts
    /// reach it.
    fn tell(&self, endpoint: &Endpoint, order: &Order) -> Result<(usize, Option<String>), StartError> {
        match ask(&self.child, endpoint, order, Deadline::after(order.start_time_max()))? {
            Word::Serves { clients, tcp } => Ok((index_of(clients), tcp)),
            Word::Failed(why) => Err(StartError::Bind(why)),
            Word::Exists => Err(StartError::Bind(BindError::Exists.to_string())),
            Word::NotRestored(why) => Err(StartError::Restore(why)),
            Word::Go => Err(StartError::Bind(UNKNOWN.to_owned())),
        }
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Returns how many clients can be connected at the same time.
    pub(crate) const fn clients_max(&self) -> usize {
        self.clients_max
    }

    /// Returns the address at which other hosts reach the server.
    #[cfg(feature = "tcp")]
    pub(crate) fn tcp_address(&self) -> Option<&str> {
        self.tcp_address.as_deref()
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// Waits for the end of a server that was asked to end. Kills it after [`END_TIME_MAX`], or [`SAVE_TIME_MAX`].
    ///
    /// # Errors
    /// [`Fault::NotSaved`] if the server should have saved its objects, and did not.
    pub(crate) fn join(&self) -> Result<(), Fault> {
        if !self.epoch.is_current() {
            // A forked child cannot wait for the server, and must not end a process that its parent waits for.
            return Ok(());
        }
        let time = if self.saves { SAVE_TIME_MAX } else { END_TIME_MAX };
        let ended = self.child.wait(Deadline::after(time));
        if !matches!(ended, Ok(Some(_))) {
            tracing::warn!(?ended, "the server did not end in time");
            self.kill();
        }
        self.remove_folder();
        if !self.saves {
            return Ok(());
        }
        outcome_of(ended.unwrap_or(Some(Ended::Unknown)))
    }

    /// Kills the process at once.
    pub(crate) fn kill(&self) {
        let killed = self.child.signal(Signal::KILL.as_raw());
        let ended = self.child.wait(Deadline::after(END_TIME_MAX));
        tracing::debug!(?killed, ?ended, "the server was killed");
        self.remove_folder();
    }

    fn remove_folder(&self) {
        drop(self.folder.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for ServerProcess {
    /// Neither ends the server nor waits for it: other processes may use it until this one ends. If the server has
    /// ended, its folder is removed.
    fn drop(&mut self) {
        let folder = self.folder.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let has_ended = self.epoch.is_current()
            && matches!(self.child.wait(Deadline::after(Duration::ZERO)), Ok(Some(_)));
        if let Some(folder) = folder
            && !has_ended
        {
            folder.leave();
        }
    }
}

/// Sends the settings to a process that was started, and waits for what it reports.
///
/// # Errors
/// [`StartError`]. The process may be left running.
fn ask(
    child: &ChildProcess,
    endpoint: &Endpoint,
    order: &Order,
    deadline: Deadline,
) -> Result<Word, StartError> {
    // If the process is already gone, the missing answer shows it.
    let sent = send(endpoint, order, deadline);
    tracing::debug!(?sent, "the settings were sent to the server");
    hear(child, endpoint, deadline)
}

/// Waits for what a process reports.
///
/// # Errors
/// [`StartError`]. The process may be left running.
fn hear(child: &ChildProcess, endpoint: &Endpoint, deadline: Deadline) -> Result<Word, StartError> {
    let mut packet = [0; PACKET_BYTES_MAX];
    let received = first_packet(child, endpoint, &mut packet, deadline).map_err(not_heard)?;
    word_in(&packet, received.body_len).ok_or_else(|| StartError::Bind(UNKNOWN.to_owned()))
}

/// Sends a message in one packet.
fn send(endpoint: &Endpoint, word: &impl Serialize, deadline: Deadline) -> Result<(), String> {
    // The packet may contain a key, of which no copy may remain.
    let mut body = [0; PACKET_BYTES_MAX - OVERHEAD_BYTES];
    let sent = match postcard::to_slice(word, &mut body) {
        Ok(body) => {
            let sent = endpoint.send(HEAD, &mut [0; OVERHEAD_BYTES], body, &[], Patience::Until(deadline));
            sent.map_err(|error| format!("{error:?}"))
        }
        Err(error) => Err(error.to_string()),
    };
    wipe(&mut body);
    sent
}

/// Decodes the message in a packet.
fn word_in<'a, T: Deserialize<'a>>(packet: &'a [u8], body_len: usize) -> Option<T> {
    let body = packet.get(OVERHEAD_BYTES..OVERHEAD_BYTES.checked_add(body_len)?)?;
    postcard::from_bytes(body).ok()
}
