//! Connections by name, for programs that are not each other's children.
//!
//! A [`Listener`] has a name; [`connect()`] finds it there. Both sides check that the other is of the same user, that types
//! fit, and, if the [`Address`] has one, that the other has the key. Then the listening side hands one end of a fresh
//! connection over, so what both get is a [`Connection`] like any other: messages are whole, descriptors and shared objects
//! travel in them, and the listener can go.
//!
//! A peer that says nothing, or garbage, delays nobody: handshakes are half done side by side, each with a deadline, by
//! whoever calls `accept`. No thread is started for them.

mod connect;
mod half_done;

use std::fmt;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{
    GenericNamespaced, ListenerNonblockingMode, ListenerOptions, Name, ToNsName,
};
use interprocess::os::unix::uds_local_socket::{Listener as Socket, Stream};
use mp_sys::OsError;
use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::descriptors::{above_standard, beside_standard};
use mp_sys::fork::Epoch;
use mp_sys::handshake::Terms;
use mp_sys::ready;
use mp_sys::socket::SLICE;

pub use self::connect::{connect, connect_timeout};
use self::half_done::HalfDone;
use crate::address::Address;
use crate::connection::Connection;
use crate::error::{AcceptError, ListenError};
use crate::limits::HANDSHAKES_MAX;
use crate::message::print_of;

/// What a connection by name speaks, in its first form.
pub(crate) const PROTOCOL: [u8; 8] = *b"mp-conn1";

/// Accepts connections under a name: the connections send values of type `S` and receive values of type `R`.
///
/// | property | |
/// |---|---|
/// | who may connect | processes of the same user; with a key, those that have it |
/// | waiting connections | kept by the kernel until `accept`, up to its own limit |
/// | a clone | the same listener: it accepts as well, and the name is free when all have gone |
/// | drop | the name is free again, also when the process is killed; connections that were accepted stay |
/// | travels | no: accept, and send the connection; or fork |
///
/// # Fork safety
/// A forked child has the listener too, and may accept; it does not go on with handshakes that its parent has half done.
///
/// # Crash
/// The name goes with the last process that has the listener. Who is connecting is told that nobody listens.
///
/// # Source
/// Python's `multiprocessing.connection.Listener`, where a silent peer keeps all others out.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use mp::{Address, Listener, connect};
///
/// # let name = format!("doc-{}", mp_sys::deadline::now_nanos());
/// let address = Address::new(name).key("a secret");
/// let listener = Listener::<String, u32>::bind(address.clone())?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let connection = listener.accept()?; // usually in another program
///         connection.send(&format!("got {}", connection.recv()?))?;
///         Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
///     });
///     let connection = connect::<u32, String>(address)?;
///     connection.send(&7)?;
///     assert_eq!(connection.recv()?, "got 7");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot be sent:
/// ```compile_fail
/// # extern crate kernel_ipc as mp;
/// fn send(listener: mp::Listener<u8, u8>) {
///     let (tx, _rx) = mp::pipe().unwrap();
///     tx.send(&listener);
/// }
/// ```
/// What it accepts can:
/// ```
/// # extern crate kernel_ipc as mp;
/// fn send(listener: mp::Listener<u8, u8>) {
///     let (tx, _rx) = mp::pipe().unwrap();
///     tx.send(&listener.accept().unwrap());
/// }
/// ```
pub struct Listener<S, R> {
    socket: Arc<Socket>,
    address: Address,
    handshakes: Arc<Mutex<Handshakes>>,
    budget: Budget,
    values: PhantomData<fn(S) -> R>,
}

/// Those that are half done, oldest first.
#[derive(Debug)]
struct Handshakes {
    half_done: Vec<HalfDone>,
    /// The process that they belong to.
    epoch: Epoch,
}

impl<S, R> Listener<S, R> {
    /// Listens under an address.
    ///
    /// # Errors
    /// [`ListenError::Exists`] if somebody listens under this name; [`ListenError::BadName`]; shortage.
    pub fn bind(address: impl Into<Address>) -> Result<Self, ListenError> {
        let address = address.into();
        let name = name_of(&address).ok_or(ListenError::BadName)?;
        let options = ListenerOptions::new().name(name).nonblocking(ListenerNonblockingMode::Both);
        let socket = Arc::new(beside_standard(|| options.create_sync_as())?);
        let handshakes = Handshakes { half_done: Vec::new(), epoch: Epoch::current() };
        let handshakes = Arc::new(Mutex::new(handshakes));
        Ok(Self { socket, address, handshakes, budget: Budget::new(), values: PhantomData })
    }

    /// Waits until somebody has connected.
    ///
    /// # Errors
    /// [`AcceptError::System`]; peers that are refused are no error here.
    pub fn accept(&self) -> Result<Connection<S, R>, AcceptError> {
        self.accept_until(Deadline::NEVER)
    }

    /// Gives a connection if somebody has connected already.
    ///
    /// # Errors
    /// [`AcceptError::Empty`] if nobody has; else as [`accept`](Self::accept).
    pub fn try_accept(&self) -> Result<Connection<S, R>, AcceptError> {
        self.step()?.ok_or(AcceptError::Empty)
    }

    /// Waits at most `timeout` until somebody has connected (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`AcceptError::TimedOut`]; else as [`accept`](Self::accept).
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection<S, R>, AcceptError> {
        self.accept_until(Deadline::after(timeout))
    }

    fn accept_until(&self, deadline: Deadline) -> Result<Connection<S, R>, AcceptError> {
        loop {
            if let Some(connection) = self.step()? {
                return Ok(connection);
            }
            if deadline.has_passed() {
                return Err(AcceptError::TimedOut);
            }
            // Copies of the handles, so that other threads can go on meanwhile.
            let streams: Vec<_> = self.lock().half_done.iter().map(HalfDone::stream).collect();
            let mut files = vec![self.socket.as_fd()];
            files.extend(streams.iter().map(|stream| stream.as_fd()));
            // Another thread may begin a handshake, and return with a connection before that is done: this one looks again
            // after a slice, and takes it over.
            let soon = self.next_deadline().min(deadline).min(Deadline::after(SLICE));
            ready::readable(&files, &self.budget, soon).map_err(AcceptError::System)?;
        }
    }

    /// Takes what is there, goes on with every handshake, and gives a connection if one is done.
    fn step(&self) -> Result<Option<Connection<S, R>>, AcceptError> {
        let terms = self.terms();
        let mut handshakes = self.lock();
        let arrived = self.take_new(&mut handshakes.half_done);
        let mut index = 0;
        while let Some(half_done) = handshakes.half_done.get_mut(index) {
            match half_done.go_on(terms) {
                half_done::Progress::Going => index = index.saturating_add(1),
                half_done::Progress::Over => drop(handshakes.half_done.remove(index)),
                half_done::Progress::Done(endpoint) => {
                    drop(handshakes.half_done.remove(index));
                    return Ok(Some(Connection::over(endpoint)));
                }
            }
        }
        // What is done already was given first: for want of descriptors nobody new may come in.
        arrived.map(|()| None)
    }

    /// Begins a handshake with everybody who is waiting for one.
    fn take_new(&self, half_done: &mut Vec<HalfDone>) -> Result<(), AcceptError> {
        loop {
            match self.socket.accept() {
                Ok(stream) => {
                    let stream = Stream::from(above_standard(stream.into()).map_err(OsError::from)?);
                    if half_done.len() >= HANDSHAKES_MAX {
                        drop(half_done.remove(0));
                    }
                    half_done.extend(HalfDone::begin(stream)?);
                }
                // Who was about to connect went away; or a signal came.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn terms(&self) -> Terms<'_> {
        let (sends, receives) = (print_of::<S>(), print_of::<R>());
        Terms { magic: PROTOCOL, key: self.address.key_bytes(), sends, receives }
    }

    fn next_deadline(&self) -> Deadline {
        let handshakes = self.lock();
        handshakes.half_done.iter().map(HalfDone::deadline).min().unwrap_or(Deadline::NEVER)
    }

    fn lock(&self) -> MutexGuard<'_, Handshakes> {
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        if !handshakes.epoch.is_current() {
            // A forked child has copies of its parent's streams: closing them tells nobody anything.
            handshakes.half_done.clear();
            handshakes.epoch = Epoch::current();
        }
        handshakes
    }
}

/// The name of the local socket.
fn name_of(address: &Address) -> Option<Name<'static>> {
    format!("mp.{}", address.checked_name()?).to_ns_name::<GenericNamespaced>().ok()
}

impl<S, R> Clone for Listener<S, R> {
    fn clone(&self) -> Self {
        let (socket, handshakes) = (Arc::clone(&self.socket), Arc::clone(&self.handshakes));
        Self {
            socket,
            address: self.address.clone(),
            handshakes,
            budget: self.budget.clone(),
            values: PhantomData,
        }
    }
}

impl<S, R> AsFd for Listener<S, R> {
    /// Readable when somebody begins to connect.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> fmt::Debug for Listener<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.address)
    }
}
