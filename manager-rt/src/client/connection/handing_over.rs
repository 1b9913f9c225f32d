//! Notices that the kernel must have before something else happens: before a fork, or before a message leaves.
//!
//! If the process is killed after that, the server still reads them. The rest of the outbox would be lost with the process.

use std::thread;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::identity::thread_number;
use mp_sys::stream::Interest;

use super::reading::Nobody;
use super::{Connection, Failure, OUTBOX_BYTES_MAX};
use crate::proto::{ManagerOp, ObjectId, Op, Raw, Travels};
use crate::references::soon;

/// How long to sleep while another thread writes, which reports nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Connection {
    /// Sends an operation as [`notice`](Self::notice) does, and makes sure that the kernel has it. Returns `false` if that takes
    /// too long, or if the server will not receive it. Reads nothing.
    pub(in crate::client) fn notice_now(&self, op: ManagerOp<Raw<'_>>, deadline: Deadline) -> bool {
        let Some(calls) = soon(&self.calls, deadline) else { return false };
        drop(calls);
        let Ok(emptied) = self.put_notice(op, 0) else { return false };
        loop {
            self.flush();
            if self.has_emptied(emptied) {
                return self.is_usable();
            }
            if deadline.has_passed() {
                return false;
            }
            thread::yield_now();
        }
    }

    /// Sends an operation as [`notice`](Self::notice) does, and returns once the kernel has it. Reads meanwhile, if no other
    /// thread does: a server whose answers are not read may stop reading.
    ///
    /// # Errors
    /// [`Failure`]; after [`Failure::Late`], the server may receive it nevertheless.
    pub(in crate::client) fn hand_over(
        &self,
        op: ManagerOp<Raw<'_>>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let emptied = self.put_notice(op, thread_number())?;
        loop {
            let is_full = self.flush();
            let is_written = self.has_emptied(emptied);
            match (self.is_usable(), is_written) {
                (false, _) => return Err(Failure::NotSent),
                (true, true) => return Ok(()),
                (true, false) if deadline.has_passed() => return Err(Failure::Late),
                (true, false) if is_full => self.wait_for_room(deadline, &mut Nobody),
                (true, false) => {
                    // Another thread writes, and reads if it has to.
                    let _ready =
                        self.stream.ready(Interest::Write, deadline.min(Deadline::after(LOOK_AGAIN)));
                    thread::yield_now();
                }
            }
        }
    }

    /// Puts a notice into the outbox. Returns how often that had been emptied before.
    fn put_notice(&self, op: ManagerOp<Raw<'_>>, thread: u64) -> Result<u64, Failure> {
        let op = Op::Manager(op);
        self.check_version(op.since())?;
        let report = self.report();
        let mut calls = self.lock();
        if calls.ended().is_some() || !self.is_usable() {
            return Err(Failure::NotSent);
        }
        if calls.outbox.len() > OUTBOX_BYTES_MAX {
            return Err(Failure::NotBegun);
        }
        calls.notice((self.next_call(), report.read), thread, ObjectId::MANAGER, op);
        let emptied = calls.emptied;
        drop(calls);
        self.has_told(report);
        Ok(emptied)
    }

    fn has_emptied(&self, before: u64) -> bool {
        self.lock().emptied != before
    }
}
