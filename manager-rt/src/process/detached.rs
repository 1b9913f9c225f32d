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
//! Killing any of the processes leaves no server, or one that serves: a server that has received all of its settings no longer
//! needs those that started it.

use std::os::fd::OwnedFd;

use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::reexec::{Command, Handed};
use mp_sys::signals::{end_requests, ignore_shutdown};
use rustix::process::{Signal, chdir, setsid};

use super::child::{self, FAILED, order_of};
use super::{Order, StartError, Word, ask, not_started, send};
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
/// [`StartError`]. No server is left running then, unless the process in between was killed.
pub(crate) fn begin(order: &Order) -> Result<Begun, StartError> {
    let command = Command::new(start_and_report).map_err(|error| not_started(&error))?;
    let (child, endpoint) =
        command.label("manager starter").silent().start().map_err(|error| not_started(&error))?;
    let heard = ask(&child, &endpoint, order);
    if heard.is_err() {
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
    let heard = ask(&child, &endpoint, order);
    if heard.is_err() {
        end(&child);
    }
    heard
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
