//! The unfinished tasks of a queue that is in another server: see `docs/design/rabbitmq.md`, "The mixed mode".
//!
//! | where | what it holds |
//! |---|---|
//! | `e` in the head | how often no task was unfinished any more. A queue without it is unknown |
//! | `x` in the head | the session that began to remove the queue, and a name of that removal |
//! | `:u` after the head | a HASH from unfinished tasks to `w`, or to the call that was given the task |
//! | `a` in the head | when somebody looked for tasks of which nothing is seen |
//! | `:b` after the head | a HASH from tasks whose put is not confirmed to the session that puts them, or to `?`, and to the run of Redis |
//! | `:c` after the head | a ZSET of tasks that are done, but may be delivered again, by the moment at which they were done |
//! | `:v` after the head | a HASH from tasks that are among those, since they were given up, to `v`, or to `d` once one was delivered |
//! | `:i` after the head | a HASH from tasks of whose existence nothing was seen to the moment since when that is so |
//! | `:j` after the head | the line of those who wait for the end of all tasks |
//!
//! The head has no kind, so other scripts do not take it for an object.

mod scripts;

use std::cell::Cell;

use redis::Value as Item;

use self::scripts::{
    AUDIT, BEGIN_PUT, CLAIM, CONFIRM, COUNT, DOUBT, FAILED, FINISH, FORGET, JOIN, KEEP, KNOW, RELEASE,
    REMOVING, WITHDRAW,
};
use super::Redis;
use super::command::{Command, Keys};
use super::line::note;
use super::script::Script;
use super::session::{Session, next_call};
use super::wait::{repeated, surely};
use crate::backend::CallError;
use crate::proto::{Answer, Call, Fault, JoinableQueueOp, ObjectId, Op, Payload, Raw, Wait};

/// The length of the name of a task, in bytes.
pub(in crate::engine) const TASK_ID_BYTES: usize = 16;
/// The name of a task.
pub(in crate::engine) type TaskId = [u8; TASK_ID_BYTES];

/// What Redis knows of the unfinished tasks of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Tasks {
    /// How many there are.
    pub(in crate::engine) count: u64,
    /// How often there were none.
    mark: u64,
    /// The time of Redis, in microseconds.
    now: u64,
}

/// What is missing of the unfinished tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::engine) struct Missing {
    /// Whether there are tasks that nobody has who lives, and the queue has none to deliver.
    pub(in crate::engine) has_some: bool,
    /// Whether that has been so of one of them for too long.
    pub(in crate::engine) has_lost: bool,
}

/// A call that was given a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Claim {
    pub(in crate::engine) object: ObjectId,
    pub(in crate::engine) id: TaskId,
    /// The name of the call.
    holder: String,
    /// Whether the task is not delivered again.
    is_last: bool,
}

fn on(script: &'static Script, keys: &Keys, object: ObjectId) -> Command {
    Command::of(script, keys, object)
}

fn with_all(command: Command, ids: &[TaskId]) -> Command {
    ids.iter().fold(command, Command::bytes)
}

/// The number of the answer to a session that has ended.
const SESSION_LOST: i64 = -22;
/// The number of the answer about a queue that is not known.
const UNKNOWN: i64 = -1;
/// How often a call begins again because its session was lost.
const ATTEMPTS_MAX: usize = 3;

impl Redis {
    /// Makes a queue known. Returns `false` if somebody is removing it, unless it is to be known nevertheless.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn know_tasks(&self, object: ObjectId, anyhow: bool) -> Result<bool, CallError> {
        self.check_open()?;
        match self.link.script(&on(&KNOW, &self.keys, object).number(u8::from(anyhow)))? {
            Item::Array(items) if items == [Item::Int(0)] => Ok(true),
            Item::Array(items) if items == [Item::Int(1)] => Ok(false),
            _ => Err(CallError::Protocol),
        }
    }

    /// Returns who began to remove a queue, if somebody did.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn remover_of_tasks(&self, object: ObjectId) -> Result<Option<Vec<u8>>, CallError> {
        let [head, ..] = self.keys.of_object(object);
        let mut ask = redis::cmd("HGET");
        ask.arg(head).arg("x");
        match self.link.ask(&ask)? {
            Item::Nil => Ok(None),
            Item::BulkString(remover) => Ok(Some(remover)),
            _ => Err(CallError::Protocol),
        }
    }

    /// Says that a queue is about to be removed by somebody with this name. Returns the whole name.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn remove_tasks(
        &self,
        object: ObjectId,
        name: TaskId,
    ) -> Result<Vec<u8>, CallError> {
        let removing = |of: &Session| on(&REMOVING, &self.keys, object).bytes(&of.name).bytes(name);
        match self.in_session(removing)?.pop() {
            Some(Item::BulkString(remover)) => Ok(remover),
            _ => Err(CallError::Protocol),
        }
    }

    /// Says that this one does not remove a queue.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn keep_tasks(&self, object: ObjectId, remover: &[u8]) -> Result<(), CallError> {
        surely(|| self.run_of_tasks(&on(&KEEP, &self.keys, object).bytes(remover)))
    }

    /// Forgets a queue that this one has removed.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn forget_tasks(&self, object: ObjectId, remover: &[u8]) -> Result<(), CallError> {
        surely(|| self.run_of_tasks(&on(&FORGET, &self.keys, object).bytes(remover)))
    }

    fn run_of_tasks(&self, command: &Command) -> Result<(), CallError> {
        self.check_open()?;
        self.link.run(command)?.map(drop).map_err(|fault| self.explain(fault))
    }

    /// Finds out whether this process has a session, and begins one if it has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn check_session(&self) -> Result<(), CallError> {
        self.check_open()?;
        self.sessions.check(&self.link);
        self.sessions.get(&self.link, &self.keys, &self.terms).map(drop)
    }

    /// Notes tasks that are about to be put.
    ///
    /// # Errors
    /// [`CallError`]; they are not noted then, or count as doubtful.
    pub(in crate::engine) fn begin_put(&self, object: ObjectId, ids: &[TaskId]) -> Result<(), CallError> {
        let begin = |of: &Session| {
            with_all(on(&BEGIN_PUT, &self.keys, object).bytes(&of.name).bytes(of.run_text()), ids)
        };
        match &self.in_session(begin)?[..] {
            [Item::Int(0)] => Ok(()),
            [Item::Int(UNKNOWN)] => Err(self.explain(Fault::UnknownObject)),
            _ => Err(CallError::Protocol),
        }
    }

    /// Runs a script of a session, and begins another session if that has ended.
    ///
    /// # Errors
    /// [`CallError`].
    fn in_session(&self, command: impl Fn(&Session) -> Command) -> Result<Vec<Item>, CallError> {
        for _ in 0..ATTEMPTS_MAX {
            self.check_open()?;
            self.sessions.check(&self.link);
            let session = self.sessions.get(&self.link, &self.keys, &self.terms)?;
            let command = command(&session);
            let outcome = repeated(|| self.link.script(&command));
            match outcome.inspect_err(|error| self.unsure(&session, *error))? {
                Item::Array(items) if items == [Item::Int(SESSION_LOST)] => {
                    self.sessions.lose(session.serial);
                }
                Item::Array(items) => return Ok(items),
                _ => return Err(CallError::Protocol),
            }
        }
        Err(CallError::ServerGone)
    }

    /// Notes that tasks were put, even if they had been given up as doubtful.
    ///
    /// # Errors
    /// [`CallError::OutcomeUnknown`] if that is not noted, so that they are doubtful, or if nobody will be given them.
    pub(in crate::engine) fn were_put(&self, object: ObjectId, ids: &[TaskId]) -> Result<(), CallError> {
        match &self.end_put(&with_all(on(&CONFIRM, &self.keys, object), ids)) {
            Some(Item::Array(items)) if items[..] == [Item::Int(0)] => Ok(()),
            _ => Err(CallError::OutcomeUnknown),
        }
    }

    /// Forgets tasks that were not put.
    pub(in crate::engine) fn withdraw_put(&self, object: ObjectId, ids: &[TaskId]) {
        drop(self.end_put(&with_all(on(&WITHDRAW, &self.keys, object), ids)));
    }

    /// Notes that nobody knows whether tasks were put.
    pub(in crate::engine) fn doubt_put(&self, object: ObjectId, ids: &[TaskId]) {
        drop(self.end_put(&with_all(on(&DOUBT, &self.keys, object), ids)));
    }

    fn end_put(&self, command: &Command) -> Option<Item> {
        let ended = surely(|| self.link.script(command)).inspect_err(|error| {
            tracing::debug!(%error, "a put was not ended, and ends with its session");
            self.sessions.end();
        });
        ended.ok()
    }

    /// Notes that this process was given a task. Returns `None` if the task is done.
    ///
    /// # Errors
    /// [`CallError`]; the task is not this process's then.
    pub(in crate::engine) fn claim(
        &self,
        object: ObjectId,
        id: TaskId,
        is_last: bool,
    ) -> Result<Option<Claim>, CallError> {
        let (number, session) = (next_call(), Cell::new(String::new()));
        let ask = |of: &Session| {
            let holder = of.call(number);
            session.set(holder.clone());
            on(&CLAIM, &self.keys, object).bytes(id).bytes(holder)
        };
        // Giving up costs the task a delivery.
        let items = surely(|| self.in_session(ask))?;
        match items[..] {
            [Item::Int(1), Item::Int(0)] => Ok(Some(Claim { object, id, holder: session.take(), is_last })),
            [Item::Int(1), Item::Int(1)] => Ok(None),
            _ => Err(CallError::Protocol),
        }
    }

    /// Ends a task.
    ///
    /// # Errors
    /// [`CallError`]; [`Fault::NotOwned`] if it was given to others.
    pub(in crate::engine) fn finish_task(&self, claim: &Claim) -> Result<(), CallError> {
        self.check_open()?;
        let mut is_again = false;
        let answer = surely(|| {
            let finish = self.of_claim(&FINISH, claim).number(u8::from(is_again));
            is_again = true;
            self.link.run(&finish)
        });
        Ok(answer.inspect_err(|error| self.give_up(*error))?.map(drop)?)
    }

    /// Returns a task.
    ///
    /// # Errors
    /// As for [`finish_task`](Self::finish_task).
    pub(in crate::engine) fn release_task(&self, claim: &Claim) -> Result<(), CallError> {
        let release = self.of_claim(&RELEASE, claim).number(u8::from(claim.is_last));
        let answer = surely(|| self.link.run(&release));
        Ok(answer.inspect_err(|error| self.give_up(*error))?.map(drop)?)
    }

    /// Ends the session if a task may still be noted as held by it. Otherwise those who wait would take it that its holder works.
    fn give_up(&self, error: CallError) {
        tracing::debug!(%error, "a task was not ended, and ends with its session");
        self.sessions.end();
    }

    fn of_claim(&self, script: &'static Script, claim: &Claim) -> Command {
        on(script, &self.keys, claim.object).bytes(claim.id).bytes(&claim.holder)
    }

    /// Ends tasks that have failed.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn tasks_failed(&self, object: ObjectId, ids: &[TaskId]) -> Result<(), CallError> {
        if ids.is_empty() {
            return Ok(());
        }
        surely(|| self.run_of_tasks(&with_all(on(&FAILED, &self.keys, object), ids)))
    }

    /// Returns what Redis knows of the unfinished tasks.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn tasks(&self, object: ObjectId) -> Result<Tasks, CallError> {
        self.check_open()?;
        let Item::Array(items) = self.link.script(&on(&COUNT, &self.keys, object))? else {
            return Err(CallError::Protocol);
        };
        let number = |item: &Item| match item {
            Item::Int(number) => u64::try_from(*number).map_err(|_| CallError::Protocol),
            _ => Err(CallError::Protocol),
        };
        match &items[..] {
            [Item::Int(UNKNOWN)] => Err(self.explain(Fault::UnknownObject)),
            [count, mark, now] => Ok(Tasks { count: number(count)?, mark: number(mark)?, now: number(now)? }),
            _ => Err(CallError::Protocol),
        }
    }

    /// Looks for tasks of which nothing is seen, some at a time. `seen` was asked before it was found out whether the queue has tasks to
    /// deliver.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn audit_tasks(
        &self,
        object: ObjectId,
        seen: &Tasks,
        has_ready: bool,
    ) -> Result<Missing, CallError> {
        let (mut at, mut missing) = (b"0".to_vec(), Missing::default());
        loop {
            let audit =
                on(&AUDIT, &self.keys, object).number(u8::from(has_ready)).number(seen.now).bytes(&at);
            let Item::Array(items) = self.link.script(&audit)? else { return Err(CallError::Protocol) };
            match &items[..] {
                [Item::Int(UNKNOWN)] => return Err(self.explain(Fault::UnknownObject)),
                [Item::BulkString(next), Item::Int(some), Item::Int(lost)] => {
                    missing.has_some |= *some > 0;
                    missing.has_lost |= *lost > 0;
                    at.clone_from(next);
                }
                _ => return Err(CallError::Protocol),
            }
            if at == b"0" {
                return Ok(missing);
            }
        }
    }

    /// Waits until no task is unfinished, or was since `since` was asked.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of the operation.
    pub(in crate::engine) fn join_tasks(
        &self,
        object: ObjectId,
        thread: u64,
        wait: Wait,
        since: &Tasks,
    ) -> Result<Answer<Payload>, CallError> {
        let op: Op<Raw<'_>> = Op::JoinableQueue(JoinableQueueOp::Join);
        let answer = self.take(&Call { object, thread, wait, op }, |_, name, is_new, ask| {
            let join = on(&JOIN, &self.keys, object).bytes(name).number(u8::from(ask.joins));
            join.bytes(note(object, is_new)).number(since.mark)
        })?;
        match answer {
            Err(fault @ Fault::UnknownObject) => Err(self.explain(fault)),
            answer => Ok(answer),
        }
    }
}
