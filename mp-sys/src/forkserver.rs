//! A separate process that forks children for this one: nearly as cheap as a fork, as clean as an exec.
//!
//! The server is this program, executed again (see [`crate::reexec`]), with one thread and very little memory. A
//! request is a [`Call`]: the server forks, and the child runs the call. So the child inherits nothing from the process
//! that asked, which may have threads and hold locks.
//!
//! | from | to | what, through the request's own pair of sockets |
//! |---|---|---|
//! | child | asker | hello: its id and a pidfd of it |
//! | server | asker | why there is no child |
//! | server | asker | how the child ended, when the server has reaped it |
//!
//! The hello comes from the child itself, before it runs anything. So an asker that has received it has a child, and
//! one that has given up has none, because the hello then fails. A process that dies at any step closes its end, so
//! nobody waits for ever.
//!
//! # How long the server lives
//! The server lives until the process that started it ends, which it sees by a pidfd. The kernel watches its one thread for
//! children that die with their parent ([`Lifeline`](crate::child::Lifeline)). Neither Ctrl-C nor SIGTERM ends the server,
//! because the process that asked for children may still need to know how they end.
//!
//! # If the server is killed
//! Its children go on, except those that die with it. How they end is no longer known, unless the asker adopts orphans,
//! as process 1 or a subreaper: they are then its children, and it reaps them. The next request starts another server.
//!
//! # If the server is stopped
//! A user did that on purpose (SIGSTOP), so the server is not replaced: nobody would then know how its children end.
//! After [`LAST_WORDS_MAX`] the asker gets an error that names the process it waits for, and its request is not run
//! when that process continues. Time is counted in slices of sleep: Ctrl-Z stops the asker as well, and when both are
//! continued it has lost nothing.
//!
//! Source: Python's `multiprocessing.forkserver`; unix(7), pidfd_open(2).

mod served;
mod server;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;

pub use self::served::ServedProcess;
use self::server::serve;
use crate::child::{ChildProcess, Ended, poll_readable, reap_abandoned};
use crate::crash;
use crate::deadline::Deadline;
use crate::fork::PerProcess;
use crate::identity::has_ended;
use crate::reexec::{Call, Command, Refusal, StartError, refusal_in};
use crate::robust::Patience;
use crate::socket::{Endpoint, Head, OVERHEAD_BYTES, ReceiveFailure, SLICE};

/// How long an asker waits for a child's hello. Only a server in a debugger, or one on a machine that stands still,
/// takes this long.
pub const START_MAX: Duration = Duration::from_secs(30);
/// How long an asker waits for a stopped server to be continued, or, if the server has ended, for a child that was
/// forked just before.
pub const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

static SERVER: PerProcess<Option<Arc<Server>>> = PerProcess::new();

#[derive(Debug)]
struct Server {
    process: ChildProcess,
    endpoint: Endpoint,
    /// Why the server never served anybody, once it has ended.
    refusal: OnceLock<Option<Refusal>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Stopped,
    Ended,
}

impl Server {
    fn state(&self) -> State {
        if has_ended(self.process.as_fd()) {
            State::Ended
        } else if self.process.is_stopped() {
            State::Stopped
        } else {
            State::Runs
        }
    }

    /// Whether the server is ending: its descriptors are closed a moment before it has ended.
    fn ends(&self) -> Result<bool, Errno> {
        poll_readable(self.process.as_fd(), Deadline::after(LAST_WORDS_MAX))
    }

    /// Returns why a server that has ended does not answer.
    fn is_lost(&self) -> StartError {
        self.refusal
            .get_or_init(|| refusal_in(&self.endpoint))
            .map_or(StartError::ServerLost, StartError::ServerRefused)
    }

    /// Returns why there is no answer.
    fn is_silent(&self) -> StartError {
        match self.state() {
            State::Ended => self.is_lost(),
            State::Runs | State::Stopped => StartError::ServerSilent { pid: self.process.id() },
        }
    }
}

/// The rest of an asker's patience, in slices of sleep.
#[derive(Debug)]
struct Left(u128);

impl Left {
    /// The whole of [`START_MAX`].
    const ALL: u128 = START_MAX.as_millis() / SLICE.as_millis();
    /// What a slice costs while there is less hope: [`LAST_WORDS_MAX`] is then the whole patience.
    const HURRIED: u128 = START_MAX.as_millis() / LAST_WORDS_MAX.as_millis();

    /// Counts a slice; returns `false` if it was the last one.
    fn after_a_slice(&mut self, server: State) -> bool {
        let cost = match server {
            State::Runs => 1,
            State::Stopped | State::Ended => Self::HURRIED,
        };
        self.0 = self.0.saturating_sub(cost);
        self.0 > 0
    }
}

/// What the asker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// The child runs, and has this id; a pidfd comes with it.
    Hello(u32),
    /// There is no child: the system's number for why.
    Failed(i32),
    /// There is no child, because the server has this many other threads, which a constructor started.
    Threads(u32),
    /// It ended, and no core was written.
    Ended(Ended),
    /// This signal ended it, and a core was written.
    Dumped(i32),
}

impl Report {
    const HELLO: u32 = u32::from_be_bytes(*b"mphi");
    const FAILED: u32 = u32::from_be_bytes(*b"mpff");
    const THREADS: u32 = u32::from_be_bytes(*b"mpth");
    const EXITED: u32 = u32::from_be_bytes(*b"mpex");
    const SIGNALED: u32 = u32::from_be_bytes(*b"mpsg");
    const DUMPED: u32 = u32::from_be_bytes(*b"mpsc");
    const UNKNOWN: u32 = u32::from_be_bytes(*b"mpun");

    fn to_head(self) -> Head {
        let (word, number) = match self {
            Self::Hello(pid) => (Self::HELLO, pid),
            Self::Failed(error) => (Self::FAILED, error.cast_unsigned()),
            Self::Threads(count) => (Self::THREADS, count),
            Self::Ended(Ended::Exited(code)) => (Self::EXITED, code.cast_unsigned()),
            Self::Ended(Ended::Signaled(signal)) => (Self::SIGNALED, signal.cast_unsigned()),
            Self::Ended(Ended::Unknown) => (Self::UNKNOWN, 0),
            Self::Dumped(signal) => (Self::DUMPED, signal.cast_unsigned()),
        };
        Head { word, long: number.into() }
    }

    fn of(head: Head) -> Option<Self> {
        let number = u32::try_from(head.long).ok()?;
        match head.word {
            Self::HELLO => Some(Self::Hello(number)),
            Self::FAILED => Some(Self::Failed(number.cast_signed())),
            Self::THREADS => Some(Self::Threads(number)),
            Self::EXITED => Some(Self::Ended(Ended::Exited(number.cast_signed()))),
            Self::SIGNALED => Some(Self::Ended(Ended::Signaled(number.cast_signed()))),
            Self::UNKNOWN => Some(Self::Ended(Ended::Unknown)),
            Self::DUMPED => Some(Self::Dumped(number.cast_signed())),
            _ => None,
        }
    }

    /// Sends the report to the asker. If the asker is gone, nobody needs it.
    fn send(self, to: &Endpoint, descriptors: &[BorrowedFd<'_>]) -> bool {
        let sent = to.send(self.to_head(), &mut [0; OVERHEAD_BYTES], &[], descriptors, Patience::None);
        if let Err(error) = &sent {
            tracing::debug!(?error, report = ?self, "a report did not reach the asker");
        }
        sent.is_ok()
    }
}

/// Makes this process's fork server start a process that runs the call. If there is no server, one is started.
///
/// # Errors
/// [`StartError`]; no child runs.
pub fn start(call: Call, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<ServedProcess, StartError> {
    // These include a server that was killed: it had not ended yet when its handle was dropped.
    reap_abandoned();
    let first = running()?;
    match ask(&first, call, body, descriptors) {
        Err(StartError::ServerLost | StartError::ServerRefused(_)) => {}
        outcome => return outcome,
    }
    // The server ended, before or during the request.
    forget(&first);
    crash::point();
    let second = running()?;
    ask(&second, call, body, descriptors)
}

/// Returns the server of this process.
fn running() -> Result<Arc<Server>, StartError> {
    let mut server = SERVER.lock();
    if let Some(server) = server.as_ref() {
        return Ok(Arc::clone(server));
    }
    let (process, endpoint) = Command::new(serve)?.label("forkserver").start()?;
    crash::point();
    let started = Server { process, endpoint, refusal: OnceLock::new() };
    Ok(Arc::clone(server.insert(Arc::new(started))))
}

/// Makes the next request start another server, unless another thread has already done so.
fn forget(lost: &Arc<Server>) {
    let mut server = SERVER.lock();
    if server.as_ref().is_some_and(|server| Arc::ptr_eq(server, lost)) {
        let forgotten = server.take();
        drop(server);
        // The handles of its children keep it. This call reaps it.
        let ended = lost.process.wait(Deadline::after(Duration::ZERO));
        tracing::debug!(?ended, "the fork server is gone; the next request starts another");
        drop(forgotten);
    }
}

/// Ends the server of this process, if there is one. Its children go on, as if it had been killed.
pub fn stop() {
    let stopped = SERVER.lock().take();
    if let Some(server) = stopped {
        let ended = server.process.signal(rustix::process::Signal::KILL.as_raw());
        let waited = server.process.wait(Deadline::NEVER);
        tracing::debug!(?ended, ?waited, "the fork server was ended");
    }
}

/// The process id of the server, if there is one.
#[must_use]
pub fn server_pid() -> Option<u32> {
    SERVER.lock().as_ref().map(|server| server.process.id())
}

fn ask(
    server: &Arc<Server>,
    call: Call,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<ServedProcess, StartError> {
    let (report, theirs) = Endpoint::pair().map_err(StartError::from_os)?;
    let all: Vec<BorrowedFd<'_>> =
        std::iter::once(theirs.as_fd()).chain(descriptors.iter().copied()).collect();
    crash::point();
    let mut left = Left(Left::ALL);
    while let Err(error) = call.send(&server.endpoint, body, &all, slice()) {
        match error {
            // There is no room, because there were more requests than the server had time to receive.
            StartError::Busy if left.after_a_slice(server.state()) => {}
            StartError::Busy => return Err(server.is_silent()),
            StartError::ServerLost => return Err(server.is_lost()),
            other => return Err(other),
        }
    }
    crash::point();
    drop(theirs);
    crash::point();
    // Nothing else is received through the server's socket, so it records where the newest hello came from.
    report.expect_peer_of(&server.endpoint);
    let outcome = wait_for_report(&report, server, left);
    server.endpoint.expect_peer_of(&report);
    crash::point();
    let (told, descriptor) = match outcome {
        Some(Ok(told)) => told,
        // No process is left that could answer. The server is ending, or had no room for what arrived.
        Some(Err(())) => {
            return Err(if server.ends()? { server.is_lost() } else { StartError::OutOfDescriptors });
        }
        None => {
            // From here on no hello can be sent; one that was sent before counts.
            report.shut_down().map_err(StartError::System)?;
            let said = receive(&report, Patience::None).and_then(Result::ok);
            said.ok_or_else(|| server.is_silent())?
        }
    };
    match (told, descriptor) {
        (Report::Hello(pid), Some(pidfd)) => {
            ServedProcess::new(pid, pidfd, report, Arc::clone(server)).ok_or_else(|| Errno::PROTO.into())
        }
        (Report::Hello(_), None) => Err(StartError::OutOfDescriptors),
        (Report::Failed(error), _) => Err(Errno::from_raw_os_error(error).into()),
        (Report::Threads(threads), _) => Err(StartError::ServerThreads { threads }),
        (Report::Ended(ended), _) => Err(StartError::Killed(ended)),
        (Report::Dumped(signal), _) => Err(StartError::Killed(Ended::Signaled(signal))),
    }
}

type Told = (Report, Option<OwnedFd>);

/// Waits for the first report; returns `None` if none arrives in time.
fn wait_for_report(report: &Endpoint, server: &Server, mut left: Left) -> Option<Result<Told, ()>> {
    loop {
        let outcome = receive(report, slice());
        if outcome.is_some() || !left.after_a_slice(server.state()) {
            return outcome;
        }
    }
}

/// A sleep of one [`SLICE`] and a moment more, so that it takes one system call.
fn slice() -> Patience {
    Patience::Until(Deadline::after(SLICE.saturating_add(Duration::from_millis(1))))
}

/// Returns `None` if there is nothing yet, and an error if nothing will come.
fn receive(report: &Endpoint, patience: Patience) -> Option<Result<Told, ()>> {
    match report.receive(&mut [0; OVERHEAD_BYTES], patience) {
        Ok(received) => {
            let told = Report::of(received.head).map(|told| (told, received.descriptors.into_iter().next()));
            Some(told.ok_or(()))
        }
        Err(ReceiveFailure::Empty) => None,
        // The hello arrived, but there was no place for its pidfd.
        Err(ReceiveFailure::OutOfDescriptors) => Some(Ok((Report::Hello(0), None))),
        Err(_) => Some(Err(())),
    }
}

#[cfg(test)]
mod tests;
