//! A server that outlives the program that started it.
//!
//! The program executes itself once more, for a process whose only task is to start the server in the same way. That one
//! reports what became of it, and ends. So the server is nobody's child: a program that waits for all of its children does not
//! wait for the server, and leaves no zombie of it. The server has a session of its own, no terminal, and none of the program's
//! descriptors.
//!
//! Of several programs that start a server at one path, one succeeds, since a server holds the lock beside its socket before it
//! listens. The others hear that there is one, and connect to it.
//!
//! A server serves nobody before the process in between has told it to go. Until then, the kernel ends it with that process (see
//! [`Beginning`]). So the program can give up when its time is over, by killing that process: no server is left that somebody has used, and
//! none that still restores its objects. Killing any of the processes leaves no server, or one that serves.
//!
//! Source: prctl(2) `PR_SET_PDEATHSIG`: the process in between has one thread.

use std::os::fd::OwnedFd;

use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::reexec::{Command, Handed};
use mp_sys::signals::{end_requests, ignore_shutdown};
use rustix::io::Errno;
use rustix::process::{Signal, chdir, set_parent_process_death_signal, setsid};

use super::child::{self, FAILED, order_of};
use super::{Order, PACKET_BYTES_MAX, StartError, UNKNOWN, Word, ask, hear, not_started, send, word_in};
use crate::OsError;
use crate::limits::{END_TIME_MAX, START_TIME_MAX};

/// What became of the attempt to start a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It serves.
    Serves,
    /// Another one holds the lock of the path: it serves already, is about to serve, or ends.
    Exists,
}

/// Starts a server that outlives this process, and waits until it serves.
///
/// # Errors
/// [`StartError`]; `TimedOut` at the deadline, or after the time that such a server may take to start. No server is left
/// running then.
pub(crate) fn begin(order: &Order, deadline: Deadline) -> Result<Begun, StartError> {
    let command = Command::new(start_and_report).map_err(|error| not_started(&error))?;
    let (child, endpoint) =
        command.label("manager starter").silent().start().map_err(|error| not_started(&error))?;
    let heard = ask(&child, &endpoint, order, deadline.min(Deadline::after(order.start_time_max())));
    if heard.is_err() {
        // The server ends with it.
        end(&child);
    }
    // It has nothing left to do, so this waits for no more than the end of a process.
    let ended = child.wait(Deadline::after(END_TIME_MAX));
    tracing::debug!(?heard, ?ended, "a server was started");
    match heard? {
        Word::Serves { .. } => Ok(Begun::Serves),
        Word::Exists => Ok(Begun::Exists),
        Word::Failed(why) => Err(StartError::Bind(why)),
        Word::NotRestored(why) => Err(StartError::Restore(why)),
        Word::Go => Err(StartError::Bind(UNKNOWN.to_owned())),
    }
}

fn end(child: &ChildProcess) {
    let killed = child.signal(Signal::KILL.as_raw());
    tracing::debug!(?killed, "the process that starts a server was ended");
}

/// Starts the server, reports what became of it, and ends.
fn start_and_report(handed: Handed) -> i32 {
    ignore_shutdown();
    let Some(order) = order_of(&handed) else { return FAILED };
    let word = start_server(&order).unwrap_or_else(|error| Word::Failed(error.to_string()));
    // If the report reaches nobody, the server serves others.
    let told = send(handed.endpoint(), &word, Deadline::after(START_TIME_MAX));
    tracing::debug!(?told, "the server was started");
    0
}

fn start_server(order: &Order) -> Result<Word, StartError> {
    let command = Command::new(child::serve_detached).map_err(|error| not_started(&error))?;
    let (child, endpoint) = command.label("manager").mute().start().map_err(|error| not_started(&error))?;
    let heard = ask(&child, &endpoint, order, Deadline::after(order.start_time_max()));
    let heard = heard.and_then(|word| match word {
        Word::Serves { .. } => {
            let deadline = Deadline::after(START_TIME_MAX);
            send(&endpoint, &Word::Go, deadline).map_err(StartError::Process)?;
            // Only then may this process end.
            match hear(&child, &endpoint, deadline)? {
                Word::Go => Ok(word),
                _ => Err(StartError::Bind(UNKNOWN.to_owned())),
            }
        }
        word => Ok(word),
    });
    if heard.is_err() {
        end(&child);
    }
    heard
}

/// The time in which the server of a process is started: the kernel kills it if that process ends.
#[derive(Debug)]
pub(super) struct Beginning(());

impl Beginning {
    /// Begins, in the process of the server.
    ///
    /// # Errors
    /// Those of prctl(2); `ESRCH` if the process that started this one has ended before, so that no signal comes.
    pub(super) fn new(handed: &Handed) -> Result<Self, OsError> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if handed.parent().has_ended() { Err(Errno::SRCH.into()) } else { Ok(Self(())) }
    }

    /// Waits until the process that started this one tells it to go, and confirms that, since that process then ends. Returns
    /// `false` if it has ended already, or says nothing.
    pub(super) fn ends_well(self, handed: &Handed) -> bool {
        let mut packet = [0; PACKET_BYTES_MAX];
        let received = handed.receive(&mut packet, Deadline::after(START_TIME_MAX));
        let is_told =
            received.is_ok_and(|received| matches!(word_in(&packet, received.body_len), Some(Word::Go)));
        if !is_told || set_parent_process_death_signal(None).is_err() {
            return false;
        }
        // If this reaches nobody, the server serves others.
        let told = send(handed.endpoint(), &Word::Go, Deadline::after(START_TIME_MAX));
        tracing::debug!(?told, "the server serves");
        true
    }
}

/// Separates this process from the session, the folder and the signals of the program that started it. Returns a descriptor that
/// is readable once it is asked to end.
///
/// # Errors
/// Those of the system calls.
pub(super) fn separate() -> Result<OwnedFd, OsError> {
    // A process that leads a group already has a session of its own, since a new process leads none.
    setsid()?;
    // A folder that is in use cannot be unmounted.
    chdir("/")?;
    end_requests()
}
