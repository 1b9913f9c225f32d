//! The server: one thread that forks, reaps and reports.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, getpid, wait};

use super::Report;
use crate::OsError;
use crate::adaptive::Budget;
use crate::child::{ForkError, flush_output, fork_unhandled, has_dumped_core, own_pid};
use crate::crash;
use crate::deadline::Deadline;
use crate::descriptors::pidfd_open;
use crate::ready::{readable, readable_later};
use crate::reexec::{Arrived, Handed, HelloError, NoCall, Packet, Parent, REFUSED_EXIT_CODE};
use crate::signals::ChildEnds;
use crate::socket::Endpoint;

/// A child, and the asker that gets the report of its end.
#[derive(Debug)]
struct Served {
    child: Pid,
    report: Endpoint,
}

/// What a forked child gives up.
#[derive(Debug)]
struct Inherited {
    handed: Handed,
    child_ends: ChildEnds,
}

#[derive(Debug)]
struct Server {
    /// `None` in a forked child.
    inherited: Option<Inherited>,
    children: Vec<Served>,
}

/// Runs the whole life of the server.
pub(super) fn serve(handed: Handed) -> i32 {
    let child_ends = match ChildEnds::block() {
        Ok(child_ends) => child_ends,
        Err(error) => {
            tracing::error!(%error, "the fork server cannot wait for children");
            return 1;
        }
    };
    crash::point();
    // The server prints nothing, but each child would have to make the buffer for its output.
    flush_output();
    let inherited = Some(Inherited { handed, child_ends });
    let mut server = Server { inherited, children: Vec::new() };
    match server.run() {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "the fork server cannot wait");
            1
        }
    }
}

/// Indices, in the order in which the descriptors are polled.
const PARENT: usize = 0;
const REQUEST: usize = 1;
const CHILDREN: usize = 2;

impl Server {
    /// Serves until the parent has ended. The number of descriptors to watch does not grow with the children.
    fn run(&mut self) -> Result<(), OsError> {
        let (budget, mut packet) = (Budget::new(), Packet::new());
        while let Some(Inherited { handed, child_ends }) = &self.inherited {
            let files = [handed.parent().as_fd(), handed.endpoint().as_fd(), child_ends.as_fd()];
            let ready = wait_for(files, handed.endpoint(), &budget)?;
            crash::point();
            if ready.contains(&PARENT) {
                return Ok(());
            }
            if ready.contains(&CHILDREN) && child_ends.arrived() {
                self.reap();
            }
            if ready.contains(&REQUEST) && !self.serve_one(&mut packet) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Serves the request that has arrived; returns `false` if no more will come.
    fn serve_one(&mut self, packet: &mut Packet) -> bool {
        let Some(Inherited { handed, .. }) = &self.inherited else {
            return false;
        };
        match Arrived::take(handed.endpoint(), packet) {
            Ok(Some(arrived)) => self.start(arrived),
            Ok(None) => {}
            Err(NoCall::Hello(HelloError::Closed)) => return false,
            // Its descriptors are closed, so the asker sees that it failed.
            Err(no_call) => tracing::debug!(?no_call, "a request cannot be served"),
        }
        true
    }

    fn start(&mut self, mut arrived: Arrived) {
        let Some(report) = take_report(&mut arrived) else {
            return;
        };
        crash::point();
        let mut report = Some(report);
        let own = own_pid();
        let mut arrived = Some(arrived);
        let child = fork_unhandled(|| {
            let parent = self.give_up();
            match arrived.take().zip(report.take()).zip(parent) {
                Some(((arrived, report), parent)) => run_child(arrived, report, parent, own),
                None => REFUSED_EXIT_CODE,
            }
        });
        crash::point();
        let Some(report) = report else {
            return;
        };
        match child {
            Ok(child) => self.children.push(Served { child, report }),
            Err(error) => {
                report_of(error).send(&report, &[]);
            }
        }
        crash::point();
    }

    /// Gives up, in a child, what it inherited, except for the process that asked for it.
    fn give_up(&mut self) -> Option<Parent> {
        self.children.clear();
        let Inherited { handed, child_ends } = self.inherited.take()?;
        child_ends.restore();
        let (endpoint, parent) = handed.into_parts();
        drop(endpoint);
        crash::point();
        Some(parent)
    }

    /// Reports the children that have ended.
    fn reap(&mut self) {
        // On an error there are no children left.
        while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
            crash::point();
            // Otherwise it is a child of code that ran before the server.
            if let Some(at) = self.children.iter().position(|served| served.child == child) {
                let report = match status.terminating_signal() {
                    Some(signal) if has_dumped_core(status) => Report::Dumped(signal),
                    _ => Report::Ended(status.into()),
                };
                report.send(&self.children.swap_remove(at).report, &[]);
                crash::point();
            }
        }
    }
}

/// Waits until something is readable.
fn wait_for(files: [BorrowedFd<'_>; 3], endpoint: &Endpoint, budget: &Budget) -> Result<Vec<usize>, OsError> {
    // If the asker shares this CPU, looking again would only keep it, and the child, from running.
    if endpoint.peer_shares_cpu() {
        readable_later(&files, Deadline::NEVER)
    } else {
        readable(&files, budget, Deadline::NEVER)
    }
}

/// The first descriptor of a request is for its reports.
fn take_report(arrived: &mut Arrived) -> Option<Endpoint> {
    let mut descriptors = std::mem::take(&mut arrived.descriptors).into_iter();
    let report = descriptors.next().map(|file: OwnedFd| Endpoint::of_pair(file));
    arrived.descriptors = descriptors.collect();
    report
}

/// Runs a child that has only what belongs to it.
fn run_child(arrived: Arrived, report: Endpoint, parent: Parent, starter: u32) -> i32 {
    match arrived.complete() {
        Ok(arrived) if say_hello(&report) => {
            crash::point();
            drop(report);
            crash::point();
            arrived.run(parent, starter)
        }
        Ok(_) => REFUSED_EXIT_CODE,
        Err(no_call) => {
            tracing::debug!(?no_call, "there is no room for the argument of the child");
            Report::Failed(Errno::NOMEM.raw_os_error()).send(&report, &[]);
            REFUSED_EXIT_CODE
        }
    }
}

/// Reports to the asker that there is a child; returns `false` if nobody needs it, so that it must not run.
fn say_hello(report: &Endpoint) -> bool {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(own) => Report::Hello(own_pid()).send(report, &[own.as_fd()]),
        Err(error) => {
            Report::Failed(error.raw_os_error()).send(report, &[]);
            false
        }
    }
}

fn report_of(error: ForkError) -> Report {
    let errno = match error {
        ForkError::OtherThreads(count) => return Report::Threads(u32::try_from(count).unwrap_or(u32::MAX)),
        ForkError::OutOfProcesses => Errno::AGAIN,
        ForkError::OutOfMemory => Errno::NOMEM,
        ForkError::OutOfDescriptors => Errno::MFILE,
        // The server holds nothing. It does not check whether a constructor made an event loop, because it runs none.
        ForkError::GuardHeld(_) | ForkError::EventLoop { .. } | ForkError::Handles => Errno::DEADLK,
        ForkError::FileSizeLimit { .. } => Errno::FBIG,
        ForkError::ThreadsUnknown(error) | ForkError::System(error) => {
            return Report::Failed(error.raw_os_error());
        }
    };
    Report::Failed(errno.raw_os_error())
}
