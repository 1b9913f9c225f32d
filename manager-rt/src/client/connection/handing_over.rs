//! Notices that the kernel must have before something else happens: before a fork, or before a message leaves.
//!
//! If the process is killed after that, the server still reads them. The rest of the outbox would be lost with the process.

use std::thread;

use mp_sys::deadline::Deadline;
use mp_sys::identity::thread_number;

use super::{Connection, Failure, OUTBOX_BYTES_MAX};
use crate::proto::{ManagerOp, ObjectId, Op, Raw, Travels};
use crate::references::soon;

impl Connection {
    /// Sends an operation as [`notice`](Self::notice) does, and makes sure that the kernel has it. Returns `false` if that takes
    /// too long, or if the server will not receive it. Reads nothing.
    pub(in crate::client) fn notice_now(&self, op: ManagerOp<Raw<'_>>, deadline: Deadline) -> bool {
        let Some(calls) = soon(&self.calls, deadline) else { return false };
        drop(calls);
        let Ok(out) = self.put_notice(op, 0) else { return false };
        loop {
            self.flush();
            match self.has_written(out) {
                Some(false) if !deadline.has_passed() => thread::yield_now(),
                written => return written == Some(true),
            }
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
        let out = self.put_notice(op, thread_number())?;
        self.write_out(out, deadline)
    }

    /// Puts a notice into the outbox. Returns its number there.
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
        let out = calls.newest_out();
        drop(calls);
        self.has_told(report);
        Ok(out)
    }
}
