//! `Condition`. A call in its line wants a thread to have a lock again; after a notification, or its timeout, it is in the line of the
//! lock.

use super::command::{Command, Keys};
use super::line::{LINES, note};
use super::lock::LOCKS;
use super::script::{CHECKED, scripts};
use crate::proto::{ConditionOp, Kind, ObjectId};

/// What a call has to find that asks again. It may have its lock, or be in the line of it, although the condition is gone.
const AGAIN: &str = r"
local me, thread, lock, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local session, LOCK = session_of(me), TAG .. 'o:' .. lock
if not end_of(session) then return {-22} end
local kind = call('HGET', LOCK, 'k')
if not kind then
  -- It waits for nothing any more.
  freeing()
  if call('HDEL', WAITS, me) == 1 then call('LREM', HEAD .. ':q', 1, me) end
  return {-1}
end
if kind ~= '6' and kind ~= '7' then return {-2, tonumber(kind)} end
freeing()
local holder, _, till = holder_of(LOCK)
-- The answer to this call was lost.
if holder == me then
  drop_answer(me)
  return granted(LOCK, 0)
end
if call('HEXISTS', WAITS, me) == 1 then
  if not holder then serve_lock(LOCK) end
  return {17, digits(till and till - now or 1000000)}
end
";

scripts! {
    @ "";
    /// Releases the lock. The arguments after the kind are the call, the thread, the lock, its token, and the
    /// condition, or nothing if its session has used it before.
    WAIT [LINES, LOCKS, AGAIN, CHECKED] = r"
local found = call('HMGET', LOCK, 't', 'r')
if not holder or session_of(holder) ~= session or found[1] ~= token then return {-23} end
if ARGV[6] ~= '' then note(session, ARGV[6]) end
call('HDEL', LOCK, 'o')
call('HSET', WAITS, me, table.concat({thread, found[2] or '0', digits(now), lock}, ':'))
call('RPUSH', HEAD .. ':q', me)
serve_lock(LOCK)
return {17, digits((end_of(session) - now) / 4)}";
    /// Ends the wait of a call for a notification.
    STOP [LINES, LOCKS] = r"
freeing()
if call('LREM', HEAD .. ':q', 1, ARGV[2]) == 1 then
  local wants = wants_of(ARGV[2])
  if wants then line_up(HEAD, ARGV[2], wants, 1) end
end
return {0}";
}

scripts! {
    NOTIFY [LINES, LOCKS] = "freeing() return {2, notify(HEAD, tonumber(ARGV[2]))}";
    WAITING = "return {2, call('LLEN', HEAD .. ':q')}";
}

pub(super) fn wait(
    keys: &Keys,
    (object, lock): (ObjectId, ObjectId),
    (call, thread, token): (&str, u64, u64),
    is_new: bool,
) -> Command {
    let command = Command::on(&WAIT, keys, object, Kind::Condition);
    command.bytes(call).number(thread).number(lock.0).number(token).bytes(note(object, is_new))
}

/// Ends the wait for a notification, so that the call has only its lock to wait for.
pub(super) fn stop(keys: &Keys, object: ObjectId, call: &str) -> Command {
    Command::on(&STOP, keys, object, Kind::Condition).bytes(call)
}

/// Returns the script call of an operation that does not wait.
pub(super) fn command(keys: &Keys, object: ObjectId, op: &ConditionOp) -> Option<Command> {
    let on = |script| Command::on(script, keys, object, Kind::Condition);
    match op {
        ConditionOp::Notify(count) => Some(on(&NOTIFY).number(count)),
        ConditionOp::Waiting => Some(on(&WAITING)),
        ConditionOp::Wait { .. } => None,
    }
}
