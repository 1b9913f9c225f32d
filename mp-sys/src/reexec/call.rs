//! A call of a function with an argument, on its way to another process of the same image.
//!
//! [`Command`] starts an [`Entry`](super::Entry), which receives a socket. A call contains more: a worker of the type
//! `fn(A) -> R`, and the bytes and descriptors of its argument. The caller implements [`Run`] to define how an `A` is
//! made from bytes, and where the `R` goes.
//!
//! Two offsets travel: that of the worker, and that of an instance of a generic function that knows the worker's type.
//! Both are made here from typed functions. Both come out of a socket that only this module has written to. Each is
//! checked to lie in the program's code before it is called. So they still belong together when they arrive.
//!
//! | bytes of the packet | what |
//! |---|---|
//! | head | [`CALL`]; flags: bit 0, the body lies in a sealed file, which is the last descriptor |
//! | 8 | the offset of the instance of `glue` |
//! | 8 | the offset of the worker |
//! | rest | the body |
//!
//! The packet is in the socket before there is a child, so nothing can fail between the two.

use std::mem::transmute;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use super::hello::{self, Refusal, refuse};
use super::image::Image;
use super::start::StartError;
use super::{Command, Handed, HelloError, Parent, REFUSED_EXIT_CODE};
use crate::child::{ChildProcess, parent_pid};
use crate::crash;
use crate::deadline::Deadline;
use crate::memory::MemoryError;
use crate::payload::{self, Payload, PayloadError};
use crate::robust::Patience;
use crate::socket::{DESCRIPTORS_MAX, Endpoint, Head, OVERHEAD_BYTES, Received, SendFailure};

/// The most descriptors that a call carries: what the kernel accepts in one packet, except one for a long body and one
/// for the process that passes the call on.
pub const CALL_DESCRIPTORS_MAX: usize = DESCRIPTORS_MAX - 2;
/// The most bytes of a call's body. More data is better kept in shared memory, whose handle is short.
pub const CALL_BYTES_MAX: usize = 64 << 20;

/// The head of a call.
const CALL: u32 = u32::from_be_bytes(*b"mpcl");
const IN_FILE: u64 = 1;
/// Bodies up to this size go into the packet itself, which fits beside the order into a socket's smallest usual buffer.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// The bytes of both offsets.
const PLACES_BYTES: usize = 16;
const PACKET_BYTES_MAX: usize = OVERHEAD_BYTES + PLACES_BYTES + INLINE_BYTES_MAX;

/// Runs a worker in the process in which a call arrives.
pub trait Run<A, R> {
    /// Makes the argument from `given`, calls the worker, and stores the result. Returns the exit code.
    fn run(worker: fn(A) -> R, given: Given) -> i32;
}

/// What arrived with a call.
#[derive(Debug)]
pub struct Given {
    /// The body.
    pub body: Vec<u8>,
    /// The descriptors, in the order in which the caller passed them.
    pub descriptors: Vec<OwnedFd>,
    /// The process that made the call.
    pub parent: Parent,
    /// The id of the process whose child this one is: the one that made the call, or its fork server.
    pub starter: u32,
}

/// A `glue` instance knows the type of the worker, which it receives without one.
type Glue = unsafe fn(*const (), Given) -> i32;

/// Runs a worker of the type `fn(A) -> R`.
///
/// # Safety
/// `worker` was made from a function of exactly that type.
unsafe fn glue<T: Run<A, R>, A, R>(worker: *const (), given: Given) -> i32 {
    #[expect(clippy::disallowed_methods, reason = "nothing else makes a function of an address")]
    // SAFETY: the caller promises that it is such a function.
    let worker = unsafe { transmute::<*const (), fn(A) -> R>(worker) };
    T::run(worker, given)
}

/// A function of this program, with the way to run it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    glue: u64,
    worker: u64,
}

impl Call {
    /// Makes a call of `worker`, which `T` will run.
    ///
    /// # Errors
    /// [`StartError::NotInProgram`] if the worker, or the instance of `T`, lies in a shared library; `System` if the
    /// program cannot be examined.
    pub fn new<T: Run<A, R>, A, R>(worker: fn(A) -> R) -> Result<Self, StartError> {
        let glue: Glue = glue::<T, A, R>;
        Self::at((glue as *const ()).expose_provenance(), (worker as *const ()).expose_provenance())
    }

    /// Starts a process that executes this program again and runs the worker with this body and these descriptors; `ps`
    /// shows `label`.
    ///
    /// # Errors
    /// [`StartError`]; there is no process.
    pub fn start(
        self,
        label: &str,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(ChildProcess, Line), StartError> {
        let first = |endpoint: &Endpoint| self.send(endpoint, body, descriptors, Patience::None);
        let (child, endpoint) = Command::new(enter)?.label(label).start_after(first)?;
        Ok((child, Line::new(endpoint)))
    }

    pub(super) fn at(glue: usize, worker: usize) -> Result<Self, StartError> {
        let image = Image::of_main_program().map_err(StartError::System)?;
        let places = image.offset_of(glue).zip(image.offset_of(worker));
        places.map(|(glue, worker)| Self { glue, worker }).ok_or(StartError::NotInProgram)
    }

    /// Sends the call with the argument of the worker.
    pub(crate) fn send(
        self,
        endpoint: &Endpoint,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), StartError> {
        if body.len() > CALL_BYTES_MAX {
            return Err(StartError::TooLarge { found: body.len(), limit: CALL_BYTES_MAX });
        }
        let mut packet = vec![0; OVERHEAD_BYTES];
        packet.extend_from_slice(&self.glue.to_le_bytes());
        packet.extend_from_slice(&self.worker.to_le_bytes());
        if body.len() <= INLINE_BYTES_MAX {
            let head = Head { word: CALL, long: 0 };
            match endpoint.send(head, &mut packet, body, descriptors, Patience::None) {
                // There is little room, or only for short packets: the descriptor of a file still fits.
                Err(SendFailure::Full | SendFailure::TooLong) => {}
                outcome => return outcome.map_err(not_sent),
            }
        }
        let file = payload::seal(&[body])?;
        crash::point();
        let mut descriptors = descriptors.to_vec();
        descriptors.push(file.as_fd());
        let head = Head { word: CALL, long: IN_FILE };
        endpoint.send(head, &mut packet, &[], &descriptors, patience).map_err(not_sent)
    }
}

fn not_sent(failure: SendFailure) -> StartError {
    match failure {
        SendFailure::TooManyDescriptors => StartError::TooManyDescriptors,
        SendFailure::DescriptorsInFlight => StartError::OutOfDescriptors,
        SendFailure::System(error) => StartError::System(error),
        SendFailure::Closed => StartError::ServerLost,
        SendFailure::Full | SendFailure::TooLong => StartError::Busy,
    }
}

impl From<MemoryError> for StartError {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::NoSpace { .. } => Self::OutOfMemory,
            MemoryError::FileSizeLimit { wanted, limit } => Self::FileSizeLimit { wanted, limit },
            MemoryError::OutOfDescriptors => Self::OutOfDescriptors,
            MemoryError::System(error) => Self::System(error),
        }
    }
}

/// Room for the longest call. A process that receives many calls keeps it: pages that no call needs are never written.
#[derive(Debug)]
pub(crate) struct Packet(Vec<u8>);

impl Packet {
    pub(crate) fn new() -> Self {
        Self(vec![0; PACKET_BYTES_MAX])
    }
}

/// A call that arrived, checked as far as it can be.
#[derive(Debug)]
pub(crate) struct Arrived {
    glue: usize,
    worker: usize,
    body: Vec<u8>,
    /// The file that contains the body until it is read.
    file: Option<OwnedFd>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Arrived {
    /// Receives a call from a socket whose other end only [`Call::send`] writes to, unless the parent ends first. The
    /// call has its body once it is [`complete`](Self::complete).
    pub(crate) fn receive(handed: &Handed, deadline: Deadline) -> Result<Self, NoCall> {
        let mut packet = Packet::new();
        let received = handed.receive(&mut packet.0, deadline).map_err(NoCall::Hello)?;
        Self::of_packet(&packet.0, received)
    }

    /// Takes a call that has already arrived, if there is one.
    pub(crate) fn take(endpoint: &Endpoint, packet: &mut Packet) -> Result<Option<Self>, NoCall> {
        match hello::take(endpoint, &mut packet.0).map_err(NoCall::Hello)? {
            Some(received) => Self::of_packet(&packet.0, received).map(Some),
            None => Ok(None),
        }
    }

    fn of_packet(packet: &[u8], received: Received) -> Result<Self, NoCall> {
        crash::point();
        let Received { head, body_len, mut descriptors } = received;
        let rest = packet.get(OVERHEAD_BYTES..).and_then(|rest| rest.get(..body_len));
        let mut rest = rest.filter(|_| head.word == CALL).ok_or(NoCall::Refused(Refusal::Malformed))?;
        let mut place = || {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let places = place().zip(place()).ok_or(NoCall::Refused(Refusal::Malformed))?;
        let image = Image::of_main_program().map_err(|_| NoCall::Refused(Refusal::OtherImage))?;
        let places = image.address_of(places.0).zip(image.address_of(places.1));
        let (glue, worker) = places.ok_or(NoCall::Refused(Refusal::NoCode))?;
        if head.long & IN_FILE == 0 {
            return Ok(Self { glue, worker, body: rest.to_vec(), file: None, descriptors });
        }
        let file = Some(descriptors.pop().ok_or(NoCall::Refused(Refusal::Malformed))?);
        Ok(Self { glue, worker, body: Vec::new(), file, descriptors })
    }

    /// Reads a long body. It runs in the process of the worker, because it takes memory and time.
    pub(crate) fn complete(mut self) -> Result<Self, NoCall> {
        if let Some(file) = self.file.take() {
            self.body = read(file)?;
        }
        Ok(self)
    }

    /// Runs the worker; returns the exit code.
    pub(crate) fn run(self, parent: Parent, starter: u32) -> i32 {
        let at = |address: usize| -> *const () { ptr::with_exposed_provenance(address) };
        #[expect(clippy::disallowed_methods, reason = "nothing else makes a function of an address")]
        // SAFETY: the offset was made in `Call::new`, from an instance of `glue`, and came here through a socket that
        // only `Call::send` writes to, in a process of the same image; there is code.
        let glue = unsafe { transmute::<*const (), Glue>(at(self.glue)) };
        let given = Given { body: self.body, descriptors: self.descriptors, parent, starter };
        // SAFETY: the worker's offset came in the same packet. `Call::new` made both, from one pair of types.
        unsafe { glue(at(self.worker), given) }
    }
}

fn read(file: OwnedFd) -> Result<Vec<u8>, NoCall> {
    Payload::open(file, CALL_BYTES_MAX).and_then(Payload::read).map_err(|error| match error {
        PayloadError::Memory(_) => NoCall::Refused(Refusal::NoRoom),
        PayloadError::NotSealed | PayloadError::TooLarge { .. } => NoCall::Refused(Refusal::Malformed),
    })
}

/// Why no call arrived.
#[derive(Debug)]
pub(crate) enum NoCall {
    /// There is no packet.
    Hello(HelloError),
    /// The call cannot be run.
    Refused(Refusal),
}

impl NoCall {
    /// Returns what to report to the caller, if it still exists.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            Self::Hello(HelloError::OutOfDescriptors) => Some(Refusal::NoRoom),
            Self::Hello(_) => None,
        }
    }
}

/// The parent's end of the socket of a process that [`Call::start`] started. Nothing can be sent into it.
#[derive(Debug)]
pub struct Line {
    endpoint: Endpoint,
    refusal: OnceLock<Option<Refusal>>,
}

impl Line {
    fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, refusal: OnceLock::new() }
    }

    /// Returns why the process ran nothing, if it reported that. Call it after the process has ended, any number of
    /// times.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        *self.refusal.get_or_init(|| refusal_in(&self.endpoint))
    }
}

/// Takes the refusal out of the socket of a process that has ended.
pub(crate) fn refusal_in(endpoint: &Endpoint) -> Option<Refusal> {
    let received = endpoint.receive(&mut [0; OVERHEAD_BYTES], Patience::None).ok()?;
    Refusal::of(received.head)
}

/// The entry of the child, which leads to its worker.
fn enter(handed: Handed) -> i32 {
    match Arrived::receive(&handed, Deadline::NEVER).and_then(Arrived::complete) {
        Ok(arrived) => {
            crash::point();
            let (endpoint, parent) = handed.into_parts();
            drop(endpoint);
            crash::point();
            // If the parent has ended, this is another process. Code that needs to know asks `parent`.
            arrived.run(parent, parent_pid())
        }
        Err(no_call) => {
            if let Some(refusal) = no_call.refusal() {
                refuse(handed.endpoint(), refusal);
            }
            REFUSED_EXIT_CODE
        }
    }
}

#[cfg(test)]
mod tests;
