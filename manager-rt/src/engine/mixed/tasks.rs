//! The operations of a `JoinableQueue`: RabbitMQ delivers its tasks, and Redis knows which of them are unfinished.
//!
//! Each task has a name, which stands before its bytes. So its type has another fingerprint than in a manager of RabbitMQ alone, which
//! would not keep the count.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;

use super::Mixed;
use crate::OsError;
use crate::backend::{Backend, CallError};
use crate::engine::rabbitmq::RabbitMq;
use crate::engine::redis::{Claim, Missing, TASK_ID_BYTES, TaskId};
use crate::proto::{Call, Fault, JoinableQueueOp, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Wait};

/// What the fingerprints of types of tasks with names differ by.
const NAMED: u64 = 0x6d69_7865_6420_6d70;
/// How long a wait for the end of all tasks goes on before it looks for tasks of which nothing is seen: this much at first, and longer by
/// as much each time, up to the most.
const LOOK_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// How long such a wait goes on while RabbitMQ cannot be reached.
const OUTAGE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long whoever opens a queue waits at most for somebody who removes it.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(10);
/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(20);
/// After how many more looks such a wait reads the names of the failed tasks again: as many as there were, and this many at most.
const READ_AGAIN_LOOKS: u64 = 10;

impl Mixed {
    fn claims(&self) -> MutexGuard<'_, HashMap<u64, Claim>> {
        self.claims.get(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds or makes a queue. Waits while somebody removes it.
    pub(super) fn open_tasks(&self, mut op: ManagerOp<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let (ManagerOp::Create { print, .. } | ManagerOp::Open { print, .. }) = &mut op else {
            return Err(Fault::Unsupported.into());
        };
        *print ^= NAMED;
        let stuck = Deadline::after(REMOVAL_TIME_MAX);
        loop {
            if let ManagerOp::Open { name, .. } = &op {
                self.forget_removed(name)?;
            }
            let reply = self.of_manager(&*self.queues, op.clone())?;
            let Reply::Object { id, .. } = &reply else { return Err(CallError::Protocol) };
            if self.objects.know_tasks(*id, stuck.has_passed())? {
                return Ok(reply);
            }
            readable_later(&[], Deadline::after(PAUSE))?;
        }
    }

    /// Forgets the tasks of a queue if somebody died who had just removed it, or most of it.
    fn forget_removed(&self, name: &str) -> Result<(), CallError> {
        let object = RabbitMq::id_of(name);
        let Some(remover) = self.objects.remover_of_tasks(object)? else { return Ok(()) };
        let unknown = Err(CallError::Fault(Fault::UnknownObject));
        let found = self.queues.find(object);
        if found.is_ok() && self.ask(object, Wait::No, JoinableQueueOp::Len).map(drop) == unknown {
            let removed = self.of_manager(&*self.queues, ManagerOp::Remove { name: name.to_owned() });
            tracing::debug!(?removed, "what somebody had left of a queue");
        } else if found != unknown {
            return found;
        }
        self.objects.forget_tasks(object, &remover)
    }

    /// Removes the queue with a name. Redis hears that first, and forgets the tasks last.
    pub(super) fn remove_queue(&self, name: &str) -> Result<Reply<Payload>, CallError> {
        let object = RabbitMq::id_of(name);
        let remover = self.objects.remove_tasks(object, new_id()?)?;
        crash::point();
        let removed = self.of_manager(&*self.queues, ManagerOp::Remove { name: name.to_owned() });
        crash::point();
        match removed {
            Ok(_) | Err(CallError::Fault(Fault::UnknownName)) => {
                self.objects.forget_tasks(object, &remover)?;
            }
            Err(error) if is_refusal(error) => self.objects.keep_tasks(object, &remover)?,
            // Whoever opens the queue next finds out whether it exists.
            Err(_) => {}
        }
        removed
    }

    /// Runs an operation of a queue of tasks.
    pub(super) fn tasks(
        &self,
        object: ObjectId,
        thread: u64,
        wait: Wait,
        op: JoinableQueueOp<Raw<'_>>,
    ) -> Result<Reply<Payload>, CallError> {
        match op {
            JoinableQueueOp::Put(task) => self.put(object, &[task], wait),
            JoinableQueueOp::PutMany(tasks) => self.put(object, &tasks, wait),
            JoinableQueueOp::Get => self.get(object, wait),
            JoinableQueueOp::Done { lease } => self.done(object, lease),
            JoinableQueueOp::Requeue { lease } => self.requeue(object, lease),
            JoinableQueueOp::Failed { at, take } => self.failed(object, at, take),
            JoinableQueueOp::Unfinished => self.unfinished(object),
            JoinableQueueOp::Join => self.join(object, thread, wait),
            op => self.ask(object, wait, op),
        }
    }

    /// Runs an operation in RabbitMQ.
    fn ask(
        &self,
        object: ObjectId,
        wait: Wait,
        op: JoinableQueueOp<Raw<'_>>,
    ) -> Result<Reply<Payload>, CallError> {
        self.queues.call(Call { object, thread: 0, wait, op: Op::JoinableQueue(op) })
    }

    /// Puts a task. Redis knows it before RabbitMQ has it.
    fn put(&self, object: ObjectId, tasks: &[Raw<'_>], wait: Wait) -> Result<Reply<Payload>, CallError> {
        let ids = tasks.iter().map(|_| new_id()).collect::<Result<Vec<_>, _>>()?;
        let named: Vec<_> = ids.iter().zip(tasks).map(|(id, task)| [&id[..], task.bytes].concat()).collect();
        let raws = named.iter().zip(tasks).map(|(bytes, task)| Raw { bytes, ids: task.ids });
        self.objects.begin_put(object, &ids)?;
        crash::point();
        let op = match (raws.clone().next(), tasks.len()) {
            (Some(task), 1) => JoinableQueueOp::Put(task),
            _ => JoinableQueueOp::PutMany(raws.collect()),
        };
        let put = self.ask(object, wait, op);
        crash::point();
        let noted = match put {
            Ok(_) => self.objects.were_put(object, &ids),
            Err(error) => {
                if is_refusal(error) {
                    self.objects.withdraw_put(object, &ids);
                } else {
                    self.objects.doubt_put(object, &ids);
                }
                Ok(())
            }
        };
        crash::point();
        noted.and(put)
    }

    /// Takes a task, and says in Redis who has it. A task that is done but was not acknowledged is acknowledged now.
    fn get(&self, object: ObjectId, wait: Wait) -> Result<Reply<Payload>, CallError> {
        let most = self.queues.deliveries_max(object)?;
        let end = end_of(wait);
        loop {
            // Otherwise a task would be delivered, and returned, as long as Redis is away.
            self.objects.check_session()?;
            let left = left_of(wait, end);
            let Reply::Leased { lease, deliveries, task } = self.ask(object, left, JoinableQueueOp::Get)?
            else {
                return Err(CallError::Protocol);
            };
            crash::point();
            let claimed = match unnamed(&task) {
                Some((id, task)) => {
                    self.objects.claim(object, id, deliveries >= most).map(|claim| (task, claim))
                }
                None => Err(CallError::Protocol),
            };
            crash::point();
            match claimed {
                Ok((task, Some(claim))) => {
                    self.claims().insert(lease, claim);
                    return Ok(Reply::Leased { lease, deliveries, task });
                }
                Ok((_, None)) => self.acknowledge(object, lease),
                Err(error) => {
                    let returned = self.ask(object, Wait::No, JoinableQueueOp::Requeue { lease });
                    tracing::debug!(?returned, "a task was not taken");
                    return Err(error);
                }
            }
        }
    }

    /// Ends a task: first in Redis, so that nobody works on it again, and then in RabbitMQ.
    fn done(&self, object: ObjectId, lease: u64) -> Result<Reply<Payload>, CallError> {
        let claim = self.claims().remove(&lease).ok_or(Fault::NotOwned)?;
        let finished = self.objects.finish_task(&claim);
        crash::point();
        if let Err(error) = finished {
            // If it is done nevertheless, whoever gets it next acknowledges it.
            let returned = self.ask(object, Wait::No, JoinableQueueOp::Requeue { lease });
            tracing::debug!(?returned, "a task was not ended");
            return Err(error);
        }
        self.acknowledge(object, lease);
        Ok(Reply::Done)
    }

    /// Acknowledges a task that is done.
    fn acknowledge(&self, object: ObjectId, lease: u64) {
        let acknowledged = self.ask(object, Wait::No, JoinableQueueOp::Done { lease });
        crash::point();
        match acknowledged {
            Ok(_) => {}
            // If it is delivered again, it is acknowledged then. That may happen even after an answer, if RabbitMQ is killed.
            Err(error) => tracing::debug!(%error, "a task that is done was not acknowledged"),
        }
    }

    /// Returns a task to its queue. If it has failed, it is not unfinished any more when others find it among the failed ones.
    fn requeue(&self, object: ObjectId, lease: u64) -> Result<Reply<Payload>, CallError> {
        let claim = self.claims().remove(&lease);
        let released = claim.map(|claim| self.objects.release_task(&claim));
        tracing::trace!(?released, "a task returns");
        crash::point();
        self.ask(object, Wait::No, JoinableQueueOp::Requeue { lease })
    }

    /// Returns failed tasks. They are not unfinished any more, even if nobody who knew that has lived to say it.
    fn failed(&self, object: ObjectId, at: u64, take: bool) -> Result<Reply<Payload>, CallError> {
        if take && at == 0 {
            // Otherwise it would be forgotten which have failed if this process dies.
            self.note_failed(object)?;
            crash::point();
        }
        let reply = self.ask(object, Wait::No, JoinableQueueOp::Failed { at, take })?;
        crash::point();
        let Reply::Values { values, version } = reply else { return Err(CallError::Protocol) };
        let (ids, values): (Vec<_>, Vec<_>) = values.iter().filter_map(unnamed).unzip();
        self.objects.tasks_failed(object, &ids)?;
        Ok(Reply::Values { values, version })
    }

    /// Ends the tasks that have failed.
    fn note_failed(&self, object: ObjectId) -> Result<(), CallError> {
        let names = self.queues.heads_of_failed(object, TASK_ID_BYTES)?;
        let ids: Vec<_> = names.iter().filter_map(|task| unnamed(task).map(|(id, _)| id)).collect();
        self.objects.tasks_failed(object, &ids)
    }

    fn unfinished(&self, object: ObjectId) -> Result<Reply<Payload>, CallError> {
        let tasks = self.objects.tasks(object)?;
        if tasks.count == 0 {
            return Ok(Reply::Count(0));
        }
        let looked = self.look(object).and_then(|missing| match missing.has_some {
            true => self.note_failed(object),
            false => Ok(()),
        });
        match looked {
            Ok(()) | Err(CallError::ServerGone) => Ok(Reply::Count(self.objects.tasks(object)?.count)),
            Err(error) => Err(error),
        }
    }

    /// Waits until no task is unfinished. Looks now and then for tasks of which nothing is seen.
    fn join(&self, object: ObjectId, thread: u64, wait: Wait) -> Result<Reply<Payload>, CallError> {
        let end = end_of(wait);
        let since = self.objects.tasks(object)?;
        let (mut slice, mut outage, mut search) = (LOOK_AFTER.0, None, Search::default());
        loop {
            let until = slice.min(end.remaining());
            let nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
            match self.objects.join_tasks(object, thread, Wait::For(nanos), &since)? {
                Err(Fault::TimedOut) if !end.has_passed() => {}
                answer => return Ok(answer?),
            }
            slice = slice.saturating_add(LOOK_AFTER.0).min(LOOK_AFTER.1);
            match self.search(object, &mut search) {
                Ok(()) => outage = None,
                Err(CallError::ServerGone) => {
                    let over = *outage.get_or_insert_with(|| Deadline::after(OUTAGE_TIME_MAX));
                    if over.has_passed() {
                        return Err(CallError::ServerGone);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks for tasks of which nothing is seen, and at the names of the failed tasks: RabbitMQ tells nobody that a task has failed with its
    /// worker. To read them takes long if there are many.
    ///
    /// # Errors
    /// [`CallError::TasksLost`], and other ones.
    fn search(&self, object: ObjectId, search: &mut Search) -> Result<(), CallError> {
        let missing = self.look(object)?;
        if !missing.has_some {
            *search = Search::default();
            return Ok(());
        }
        search.looks = search.looks.saturating_add(1);
        if search.looks < search.read_at && !missing.has_lost {
            return Ok(());
        }
        search.read_at = search.looks.saturating_add(search.looks.min(READ_AGAIN_LOOKS));
        self.note_failed(object)?;
        if missing.has_lost && self.look(object)?.has_lost {
            return Err(CallError::TasksLost);
        }
        Ok(())
    }

    /// Looks for tasks of which nothing is seen.
    fn look(&self, object: ObjectId) -> Result<Missing, CallError> {
        let seen = self.objects.tasks(object)?;
        let Reply::Count(ready) = self.ask(object, Wait::No, JoinableQueueOp::Len)? else {
            return Err(CallError::Protocol);
        };
        self.objects.audit_tasks(object, &seen, ready > 0)
    }
}

/// How long a wait has been missing tasks.
#[derive(Debug, Default)]
struct Search {
    /// How often it has looked.
    looks: u64,
    /// After how many looks it reads the names of the failed tasks.
    read_at: u64,
}

/// Returns `true` if an error of a put says that nothing was put.
const fn is_refusal(error: CallError) -> bool {
    matches!(error, CallError::Fault(_) | CallError::ServerGone | CallError::Unauthorised)
}

/// Returns a name for a task that no other task has.
fn new_id() -> Result<TaskId, CallError> {
    let mut id = [0; TASK_ID_BYTES];
    let drawn = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
    drawn.map_err(|error| CallError::System(OsError::from(error)))?;
    Ok(id)
}

/// Returns the name of a task, and the task.
fn unnamed(named: &Payload) -> Option<(TaskId, Payload)> {
    let Raw { bytes, ids } = named.raw();
    let (id, bytes) = bytes.split_first_chunk::<TASK_ID_BYTES>()?;
    Some((*id, Payload::copy(Raw { bytes, ids })))
}

/// Returns when a wait that begins now ends.
fn end_of(wait: Wait) -> Deadline {
    match wait {
        Wait::No => Deadline::after(Duration::ZERO),
        Wait::For(nanos) => Deadline::after(Duration::from_nanos(nanos)),
        Wait::Forever => Deadline::NEVER,
    }
}

/// Returns how long the rest of a wait may be.
fn left_of(wait: Wait, end: Deadline) -> Wait {
    match wait {
        Wait::For(_) => Wait::For(u64::try_from(end.remaining().as_nanos()).unwrap_or(u64::MAX)),
        wait => wait,
    }
}
