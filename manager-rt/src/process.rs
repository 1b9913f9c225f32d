//! A manager's server in a process of its own.
//!
//! The process is started by executing the own program again (see `mp_sys::reexec`): no line in `main`, no fork, so threads
//! of this process do not matter. It is sent what it needs in one packet, binds a socket in a private folder, and says so in
//! one packet; then it serves. Both sides wait for each other's word or death, never for a word alone.
//!
//! The server ends when its parent ends, and when a client asks it to; it removes its folder then. A server that
//! is killed leaves the folder: whoever started it removes that when it lets go of the process, and the next start of any
//! server sweeps what is left of others.

mod child;
pub(crate) mod folder;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mp_sys::budget::file_size_limit;
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::key::{Key, wipe};
use mp_sys::reexec::{Command, HelloError, StartError as ExecError, first_packet};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use self::folder::Folder;
use crate::OsError;
use crate::address::{Address, AddressError};
use crate::count::count_of;
use crate::limits::{END_TIME_MAX, KEY_BYTES_MAX, START_TIME_MAX};
use crate::state::Limits;

/// The longest packet between the two while the server starts, in bytes.
const PACKET_BYTES_MAX: usize = 4_096;
/// What the two say to each other begins with this.
const HEAD: Head = Head { word: u32::from_le_bytes(*b"mngr"), long: 1 };

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No process could be started: the message says why.
    #[error("the server cannot be started: {0}")]
    Process(String),
    /// The process ended before it served: the message says how.
    #[error("the server ended while it started: {0}")]
    Ended(String),
    /// The process did not serve within [`START_TIME_MAX`], and was killed.
    #[error("the server did not come up in time")]
    TimedOut,
    /// The server could not listen at its socket.
    #[error("the server cannot listen: {0}")]
    Bind(String),
    /// There is no private folder for the socket.
    #[error("there is no folder for the server's socket: {0}")]
    Folder(#[source] OsError),
    /// A file of this process may not be as long as the key, which is left beside the socket (`RLIMIT_FSIZE`).
    #[error("the limit of {limit} bytes for files (RLIMIT_FSIZE) leaves no room for the server's key")]
    FileSizeLimit {
        /// The limit in bytes.
        limit: u64,
    },
    /// The key has more bytes than [`KEY_BYTES_MAX`].
    #[error("the key has {bytes} bytes, the limit is {limit}", limit = KEY_BYTES_MAX)]
    KeyTooLong {
        /// Bytes that it has.
        bytes: usize,
    },
    /// No socket can have this path.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server was started, and cannot be reached.
    #[error("the server cannot be reached: {0}")]
    Connect(#[from] crate::client::ConnectError),
    /// The system refused.
    #[error(transparent)]
    System(#[from] OsError),
}

/// Why there is no child. A function, since the error of another crate stands in no public signature.
fn not_started(error: &ExecError) -> StartError {
    StartError::Process(error.to_string())
}

/// Why there is no word of the child.
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

/// What the server is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    path: String,
    #[serde(with = "crate::key")]
    key: Key,
    memory_bytes: u64,
    clients: u64,
    /// The folder of the socket was made for it.
    #[serde(skip)]
    folder: Option<Folder>,
}

impl Order {
    /// A server at this path, or in a private folder; with this key, or a random one.
    ///
    /// # Errors
    /// [`StartError::Folder`], [`StartError::Address`], [`StartError::KeyTooLong`].
    pub(crate) fn new(path: Option<&Path>, key: Option<Key>, limits: Limits) -> Result<Self, StartError> {
        if let Some(bytes) = key.as_ref().map(|key| key.as_bytes().len()).filter(|len| *len > KEY_BYTES_MAX) {
            return Err(StartError::KeyTooLong { bytes });
        }
        let (folder, socket) = match path {
            Some(path) => (None, path.to_owned()),
            None => {
                let folder = Folder::create().map_err(StartError::Folder)?;
                let socket = folder.socket();
                (Some(folder), socket)
            }
        };
        let address = Address::local(socket)?;
        let path = address.path().to_str().ok_or_else(|| AddressError::Path(address.path().to_owned()))?;
        let key = match key {
            Some(key) => key,
            None => Key::random()?,
        };
        let (memory_bytes, clients) = (count_of(limits.memory_bytes), count_of(limits.clients));
        Ok(Self { path: path.to_owned(), key, memory_bytes, clients, folder })
    }
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Serves,
    Failed(String),
}

/// The process of a server, and its folder.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: ChildProcess,
    address: Address,
    key: Key,
    folder: Mutex<Option<Folder>>,
    /// Who started it.
    epoch: Epoch,
}

impl ServerProcess {
    /// Starts a server, and waits until it serves.
    ///
    /// # Errors
    /// [`StartError`]: there is no process then.
    pub(crate) fn start(mut order: Order) -> Result<Self, StartError> {
        folder::sweep();
        let folder = order.folder.take();
        if let Some(folder) = &folder {
            // Writing beyond it would raise SIGXFSZ, which kills.
            if let Some(limit) =
                file_size_limit().filter(|limit| *limit < count_of(order.key.as_bytes().len()))
            {
                return Err(StartError::FileSizeLimit { limit });
            }
            folder.write_key(&order.key).map_err(StartError::Folder)?;
        }
        let address = Address::local(&order.path)?;
        let command = Command::new(child::serve).map_err(|error| not_started(&error))?;
        let started = command.label("manager").silent().start();
        let (child, endpoint) = started.map_err(|error| not_started(&error))?;
        // From here on the process is killed, and the folder removed, if anything fails.
        let (key, folder) = (order.key.clone(), Mutex::new(folder));
        let process = Self { child, address, key, folder, epoch: Epoch::current() };
        let started = process.tell(&endpoint, &order);
        if started.is_err() {
            process.kill();
        }
        started.map(|()| process)
    }

    /// Tells the server what to do, and hears that it does it.
    fn tell(&self, endpoint: &Endpoint, order: &Order) -> Result<(), StartError> {
        let deadline = Deadline::after(START_TIME_MAX);
        // If it is gone already, the answer that does not come tells so.
        let sent = send(endpoint, order, deadline);
        tracing::debug!(?sent, "the server was told what to do");
        let mut packet = [0; PACKET_BYTES_MAX];
        let received = first_packet(&self.child, endpoint, &mut packet, deadline).map_err(not_heard)?;
        match word_in(&packet, received.body_len) {
            Some(Word::Serves) => Ok(()),
            Some(Word::Failed(why)) => Err(StartError::Bind(why)),
            None => Err(StartError::Bind("it says what no server says".to_owned())),
        }
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// Waits until the server that was asked to end has ended; kills it after [`END_TIME_MAX`].
    pub(crate) fn join(&self) {
        if !self.epoch.is_current() {
            // A forked child cannot wait for it, and must not end what its parent waits for.
            return;
        }
        let ended = self.child.wait(Deadline::after(END_TIME_MAX));
        if !matches!(ended, Ok(Some(_))) {
            tracing::warn!(?ended, "the server did not end in time");
            self.kill();
        }
        self.remove_folder();
    }

    /// Ends the process at once.
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
    /// Neither ends the server nor waits for it: others may use it, until this process ends. The folder of one that has
    /// ended goes.
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

/// Sends one thing in one packet.
fn send(endpoint: &Endpoint, word: &impl Serialize, deadline: Deadline) -> Result<(), String> {
    // There may be a key in it, of which nothing is to stay.
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

/// What a packet says.
fn word_in<'a, T: Deserialize<'a>>(packet: &'a [u8], body_len: usize) -> Option<T> {
    let body = packet.get(OVERHEAD_BYTES..OVERHEAD_BYTES.checked_add(body_len)?)?;
    postcard::from_bytes(body).ok()
}
