//! Connections by name, between programs that did not start each other.
//!
//! A [`Listener`] has a name, and [`connect()`] finds it by that name. Each side checks that the other belongs to the same
//! user, that the types fit, and, if the [`Address`] has a key, that the other side has it too. Then the listening side
//! hands over one end of a fresh connection. So both sides get an ordinary [`Connection`]: messages are whole, descriptors
//! and shared objects travel in them, and the listener may end.
//!
//! A peer that sends nothing, or garbage, delays no other peer. Handshakes run side by side, each with a deadline, inside
//! the calls of `accept`. No thread is started for them.

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

/// The protocol of connections by name, in its first version.
pub(crate) const PROTOCOL: [u8; 8] = *b"mp-conn1";

/// Accepts connections under a name. The connections send values of type `S` and receive values of type `R`.
///
/// | property | |
/// |---|---|
/// | who may connect | processes of the same user; with a key, those that have it |
/// | waiting connections | queued by the kernel until `accept`, up to the kernel's limit |
/// | a clone | the same listener: it can accept as well, and the name is free when all clones are dropped |
/// | drop | frees the name, also if the process is killed; accepted connections stay open |
/// | travels | no: accept, and send the connection; or fork |
///
/// # Fork safety
/// A forked child has the listener too, and may accept. It does not continue its parent's unfinished handshakes.
///
/// # Crash
/// The name disappears with the last process that has the listener. [`connect()`] then returns
/// [`ConnectError::NotFound`](crate::ConnectError::NotFound).
///
/// # Source
/// Python's `multiprocessing.connection.Listener`; differs: a silent peer does not block the others.
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
/// A listener cannot be sent:
/// ```compile_fail
/// # extern crate kernel_ipc as mp;
/// fn send(listener: mp::Listener<u8, u8>) {
///     let (tx, _rx) = mp::pipe().unwrap();
///     tx.send(&listener);
/// }
/// ```
/// The connections that it accepts can:
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

/// Unfinished handshakes, oldest first.
#[derive(Debug)]
struct Handshakes {
    half_done: Vec<HalfDone>,
    /// The process that the handshakes belong to.
    epoch: Epoch,
}

impl<S, R> Listener<S, R> {
    /// Makes a listener that has this address.
    ///
    /// # Errors
    /// [`ListenError::Exists`] if another listener has this name; [`ListenError::BadName`]; [`ListenError::System`].
    pub fn bind(address: impl Into<Address>) -> Result<Self, ListenError> {
        let address = address.into();
        let name = name_of(&address).ok_or(ListenError::BadName)?;
        let options = ListenerOptions::new().name(name).nonblocking(ListenerNonblockingMode::Both);
        let socket = Arc::new(beside_standard(|| options.create_sync_as())?);
        let handshakes = Handshakes { half_done: Vec::new(), epoch: Epoch::current() };
        let handshakes = Arc::new(Mutex::new(handshakes));
        Ok(Self { socket, address, handshakes, budget: Budget::new(), values: PhantomData })
    }

    /// Waits until a peer has connected, and returns the connection.
    ///
    /// # Errors
    /// [`AcceptError::System`]. A peer that is refused is not an error here.
    pub fn accept(&self) -> Result<Connection<S, R>, AcceptError> {
        self.accept_until(Deadline::NEVER)
    }

    /// Returns a connection if a peer has already connected.
    ///
    /// # Errors
    /// [`AcceptError::Empty`] if none has; otherwise those of [`accept`](Self::accept).
    pub fn try_accept(&self) -> Result<Connection<S, R>, AcceptError> {
        self.step()?.ok_or(AcceptError::Empty)
    }

    /// Waits at most `timeout` until a peer has connected (monotonic clock; `Duration::MAX` waits forever).
    ///
    /// # Errors
    /// [`AcceptError::TimedOut`]; otherwise those of [`accept`](Self::accept).
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
            // Copied handles: the lock is released while this thread waits, so that other threads can continue.
            let streams: Vec<_> = self.lock().half_done.iter().map(HalfDone::stream).collect();
            let mut files = vec![self.socket.as_fd()];
            files.extend(streams.iter().map(|stream| stream.as_fd()));
            // Another thread may begin a handshake, and return with another connection before the handshake is done. So
            // this thread looks again after a slice, and continues it.
            let soon = self.next_deadline().min(deadline).min(Deadline::after(SLICE));
            ready::readable(&files, &self.budget, soon).map_err(AcceptError::System)?;
        }
    }

    /// Begins the handshakes of new peers, continues all others, and returns a connection if one handshake is done.
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
        // Finished handshakes come first: without free descriptors no new peer can be taken.
        arrived.map(|()| None)
    }

    /// Begins a handshake with every peer that is waiting for one.
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
                // The peer went away, or a signal came.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn terms(&self) -> Terms<'_> {
        let (sends, receives) = (print_of::<S>(), print_of::<R>());
        Terms { magic: PROTOCOL, key: self.address.key_bytes(), sends, receives, offer: None }
    }

    fn next_deadline(&self) -> Deadline {
        let handshakes = self.lock();
        handshakes.half_done.iter().map(HalfDone::deadline).min().unwrap_or(Deadline::NEVER)
    }

    fn lock(&self) -> MutexGuard<'_, Handshakes> {
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        if !handshakes.epoch.is_current() {
            // A forked child has copies of its parent's streams. No peer notices when they are closed.
            handshakes.half_done.clear();
            handshakes.epoch = Epoch::current();
        }
        handshakes
    }
}

/// Returns the name of the local socket.
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
    /// Returns a descriptor that is readable when a peer begins to connect.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> fmt::Debug for Listener<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.address)
    }
}
