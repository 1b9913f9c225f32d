//! The server: one thread that forks, reaps and reports.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::Report;
use crate::adaptive::Budget;
use crate::child::{ChildProcess, ForkError, fork, own_pid};
use crate::deadline::Deadline;
use crate::ready::readable;
use crate::reexec::{Arrived, Handed, HelloError, NoCall, Parent, REFUSED_EXIT_CODE};
use crate::signals::{default_interrupt, ignore_interrupt};
use crate::socket::Endpoint;

/// A child, and whom to tell how it ends.
#[derive(Debug)]
struct Served {
    process: ChildProcess,
    report: Endpoint,
}

/// What the server has. A forked child gives it up.
#[derive(Debug)]
struct Server {
    handed: Option<Handed>,
    children: Vec<Served>,
    /// Whether children are to have SIGINT as it was.
    interruptible: bool,
}

/// The server's whole life.
pub(super) fn serve(handed: Handed) -> i32 {
    let interruptible = ignore_interrupt();
    let mut server = Server { handed: Some(handed), children: Vec::new(), interruptible };
    let budget = Budget::new();
    while let Some(handed) = &server.handed {
        let fixed = [handed.parent().as_fd(), handed.endpoint().as_fd()];
        let children = server.children.iter().map(|child| child.process.as_fd());
        let files: Vec<BorrowedFd<'_>> = fixed.into_iter().chain(children).collect();
        // Beside an asker on the same CPU looking again would only keep it, and the child, from running.
        let waited = if handed.endpoint().peer_shares_cpu() {
            readable(&files, &Budget::none(), Deadline::NEVER)
        } else {
            readable(&files, &budget, Deadline::NEVER)
        };
        if let Err(error) = waited {
            tracing::error!(%error, "the fork server cannot wait");
            return 1;
        }
        if handed.parent().has_ended() {
            return 0;
        }
        match Arrived::receive(handed, Deadline::after(Duration::ZERO)) {
            Ok(arrived) => server.start(arrived),
            Err(NoCall::Hello(HelloError::TimedOut)) => {}
            Err(NoCall::Hello(HelloError::Ended(_) | HelloError::Closed)) => return 0,
            // What came with it is closed, so that the asker is told.
            Err(no_call) => tracing::debug!(?no_call, "a request cannot be served"),
        }
        server.reap();
    }
    0
}

impl Server {
    fn start(&mut self, mut arrived: Arrived) {
        let Some(report) = take_report(&mut arrived) else {
            return;
        };
        let mut report = Some(report);
        let own = own_pid();
        let mut arrived = Some(arrived);
        let child = fork(|| {
            let parent = self.give_up().filter(|_| report.take().is_some_and(say_hello));
            match arrived.take().zip(parent) {
                Some((arrived, parent)) => arrived.run(parent, own),
                None => REFUSED_EXIT_CODE,
            }
        });
        let Some(report) = report else {
            return;
        };
        match child {
            Ok(process) => self.children.push(Served { process, report }),
            Err(error) => {
                Report::Failed(number_of(error)).send(&report, &[]);
            }
        }
    }

    /// What a child does with what it inherited: it keeps only who asked for it.
    fn give_up(&mut self) -> Option<Parent> {
        self.children.clear();
        if self.interruptible {
            default_interrupt();
        }
        let (endpoint, parent) = self.handed.take()?.into_parts();
        drop(endpoint);
        Some(parent)
    }

    /// Tells of the children that have ended.
    fn reap(&mut self) {
        let ended = |child: &mut Served| match child.process.wait(Deadline::after(Duration::ZERO)) {
            Ok(Some(ended)) => {
                Report::Ended(ended).send(&child.report, &[]);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "a child of the fork server cannot be waited for");
                true
            }
        };
        drop(self.children.extract_if(.., ended).collect::<Vec<_>>());
    }
}

/// The first descriptor of a request is for its reports.
fn take_report(arrived: &mut Arrived) -> Option<Endpoint> {
    let mut descriptors = std::mem::take(&mut arrived.descriptors).into_iter();
    let report = descriptors.next().and_then(|file: OwnedFd| Endpoint::of(file).ok());
    arrived.descriptors = descriptors.collect();
    report
}

/// Tells the asker that there is a child; `false` if nobody wants to know, so that it must not run.
fn say_hello(report: Endpoint) -> bool {
    let said = match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(own) => Report::Hello(own_pid()).send(&report, &[own.as_fd()]),
        Err(error) => {
            Report::Failed(error.raw_os_error()).send(&report, &[]);
            false
        }
    };
    drop(report);
    said
}

fn number_of(error: ForkError) -> i32 {
    let errno = match error {
        ForkError::OutOfProcesses => Errno::AGAIN,
        ForkError::OutOfMemory => Errno::NOMEM,
        ForkError::OutOfDescriptors => Errno::MFILE,
        // The server has one thread and holds nothing.
        ForkError::OtherThreads(_) | ForkError::GuardHeld(_) | ForkError::Handles => Errno::DEADLK,
        ForkError::System(error) => return error.raw_os_error(),
    };
    errno.raw_os_error()
}
