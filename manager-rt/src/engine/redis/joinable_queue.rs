//! `JoinableQueue`: a [queue] whose consumers keep what they were given until it is done.
//!
//! | where | what it holds |
//! |---|---|
//! | `m` in the head | how often a task may be delivered |
//! | `e` in the head | how often joiners were answered, since no task was unfinished |
//! | `y` in the head | how many tasks have failed |
//! | the data | a LIST with the tasks that wait. Each is how often it was given back, `:`, and itself |
//! | `:z` after the head | a HASH from the calls that were given a task to that task, as it was in the queue |
//! | `:f` after the head | a ZSET with the failed tasks. Each is its number, `:`, and itself |
//!
//! The number of a lease is that of the call.

use super::command::{Command, Keys};
use super::line::{LINES, note};
use super::ordinary::DONE_ONE;
use super::page::PAGE;
use super::queue::{self, CHECKED_QUEUE, Named, QUEUES};
use super::script::{Script, scripts};
use super::session::Session;
use crate::backend::CallError;
use crate::proto::{Fault, JoinableQueueOp, Kind, ObjectId, Raw};

scripts! {
    @ "";
    /// The argument after the kind is the call that was given the task.
    DONE (DONE_ONE) [CHECKED_QUEUE, LINES, PAGE, QUEUES] = r"
freeing()
if not end_of(session_of(ARGV[2])) or call('HDEL', ORDER, ARGV[2]) == 0 then
  serve_queue(HEAD)
  return {-23}
end
finish(HEAD)
return {0}";
}

scripts! {
    @ CHECKED_QUEUE;
    /// The argument after the kind is the call that was given the task.
    REQUEUE [LINES, PAGE, QUEUES] = r"
freeing()
local task = end_of(session_of(ARGV[2])) and call('HGET', ORDER, ARGV[2])
if task then
  call('HDEL', ORDER, ARGV[2])
  give_back(HEAD, unpacked(task)[1])
end
serve_queue(HEAD)
return {task and 0 or -23}";
    /// The arguments after the kind are the call, whether it waits, the object, or nothing if its session has used the object
    /// before, and how often joiners had been answered when the call joined the line, or nothing.
    JOIN [LINES, PAGE, QUEUES] = r"
local me, waits, object, mark = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local session = session_of(me)
if not end_of(session) then return {-22} end
freeing()
if object ~= '' then note_consumer(session, object) end
local till, count = serve_queue(HEAD), call('HGET', HEAD, 'e') or '0'
-- The answer to this call may have been lost.
if mark ~= '' and mark ~= count or unfinished(HEAD) == 0 then
  drop_answer(me)
  return {0}
end
if waits == '0' then return {-25} end
local parked = wait_in(':j', me, '', till)
parked[3] = count
return parked";
    UNFINISHED [LINES, PAGE, QUEUES] = r"
freeing()
serve_queue(HEAD)
return {2, unfinished(HEAD)}";
    /// The arguments after the kind are the number of the first task, and whether the tasks are removed.
    FAILED [LINES, PAGE, QUEUES] = r"
freeing()
serve_queue(HEAD)
local at, out, next = ARGV[2], {8, ARGV[2]}, nil
local function read(from, count) return call('ZRANGEBYSCORE', HEAD .. ':f', at, '+inf', 'LIMIT', from, count) end
for _, task in ipairs(page({}, 0, 4096, 1, read)) do
  next, out[#out + 1] = parts_of(task)
end
if next then
  out[2] = digits(next + 1)
  if ARGV[3] == '1' then call('ZREMRANGEBYSCORE', HEAD .. ':f', at, next) end
end
return out";
}

fn on(script: &'static Script, keys: &Keys, object: ObjectId) -> Command {
    Command::on(script, keys, object, Kind::JoinableQueue)
}

/// Returns the script call of an operation that does not wait.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call.
pub(super) fn command(
    keys: &Keys,
    object: ObjectId,
    op: JoinableQueueOp<Raw<'_>>,
    session: Option<&Session>,
) -> Result<Command, CallError> {
    let kind = Kind::JoinableQueue;
    // What an earlier session was given has returned.
    let call = |lease| session.map(|session| session.call(lease)).ok_or(Fault::NotOwned);
    Ok(match op {
        JoinableQueueOp::Put(task) => queue::put(keys, object, kind, &[task])?,
        JoinableQueueOp::PutMany(tasks) => queue::put(keys, object, kind, &tasks)?,
        JoinableQueueOp::Done { lease } => done(keys, object, &call(lease)?),
        JoinableQueueOp::Requeue { lease } => requeue(keys, object, &call(lease)?),
        JoinableQueueOp::Len => queue::len(keys, object, kind),
        JoinableQueueOp::Capacity => queue::capacity(keys, object, kind),
        JoinableQueueOp::Unfinished => on(&UNFINISHED, keys, object),
        JoinableQueueOp::Failed { at, take } => on(&FAILED, keys, object).number(at).number(u8::from(take)),
        JoinableQueueOp::Close => queue::close(keys, object, kind),
        JoinableQueueOp::IsClosed => queue::is_closed(keys, object, kind),
        // These need a session, and no pipeline has them.
        JoinableQueueOp::Get | JoinableQueueOp::Join => return Err(Fault::Unsupported.into()),
    })
}

pub(super) fn done(keys: &Keys, object: ObjectId, call: &str) -> Command {
    on(&DONE, keys, object).bytes(call)
}

pub(super) fn requeue(keys: &Keys, object: ObjectId, call: &str) -> Command {
    on(&REQUEUE, keys, object).bytes(call)
}

pub(super) fn join(keys: &Keys, named: Named<'_>) -> Command {
    let Named { object, call, is_new, ask, .. } = named;
    let mark = ask.mark.map(|mark| mark.to_string()).unwrap_or_default();
    on(&JOIN, keys, object).bytes(call).number(u8::from(ask.joins)).bytes(note(object, is_new)).bytes(mark)
}
