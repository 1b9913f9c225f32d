//! `Semaphore` and `BoundedSemaphore`.
//!
//! | where | what it holds |
//! |---|---|
//! | `f` in the head | the number of free permits |
//! | `b` in the head | the most permits of a bounded semaphore |
//! | the data | a HASH with the calls that took the permits |
//! | `:s` after the head | a HASH from sessions to the number of their permits |
//!
//! The token of a permit is the number of the call that took it. So a permit is given back once, however often its owner says so.

use super::command::{Command, Keys};
use super::line::{LINES, note};
use super::script::{Script, scripts};
use crate::limits::PERMITS_MAX;
use crate::proto::ObjectId;

/// Grants and frees permits.
pub(super) const PERMITS: &str = r"
local function grant_permit(head, waiter)
  call('HSET', head .. ':d', waiter, 1)
  call('HINCRBY', head .. ':s', session_of(waiter), 1)
  call('HINCRBY', head, 'f', -1)
end
-- Takes a permit from the records. Returns whether it was there.
local function remove_permit(head, waiter)
  if call('HDEL', head .. ':d', waiter) == 0 then return false end
  local session = session_of(waiter)
  if call('HINCRBY', head .. ':s', session, -1) == 0 then call('HDEL', head .. ':s', session) end
  return true
end
-- Frees the permits of sessions that have ended. Returns until when no other session surely ends.
local function free_permits(head)
  local till, ended = now + 3600000000, {}
  for _, session in ipairs(call('HKEYS', head .. ':s')) do
    local ends = end_of(session)
    if ends then till = math.min(till, ends) else ended[session] = true end
  end
  if next(ended) then
    for _, waiter in ipairs(call('HKEYS', head .. ':d')) do
      if ended[session_of(waiter)] and remove_permit(head, waiter) then call('HINCRBY', head, 'f', 1) end
    end
  end
  return till
end
local function serve_permits(head)
  local till = free_permits(head)
  while tonumber(call('HGET', head, 'f')) > 0 do
    local waiter = next_of(head)
    if not waiter then break end
    grant_permit(head, waiter)
    answer(waiter, '15 ' .. number_of(waiter) .. ' 0 0')
  end
  return till
end
SERVE['8'], SERVE['9'] = serve_permits, serve_permits
";

/// Checks that the object is a semaphore of either kind.
const CHECKED_SEMAPHORE: &str = r"
local KIND = call('HGET', HEAD, 'k')
if KIND ~= '8' and KIND ~= '9' then
  if KIND then return {-2, tonumber(KIND)} end
  return {-1}
end
";

scripts! {
    @ CHECKED_SEMAPHORE;
    /// The arguments are the call, whether it waits, and the object, or nothing if its session has used the object before.
    TAKE [LINES, PERMITS] = r"
local me, waits, object = ARGV[1], ARGV[2], ARGV[3]
local session = session_of(me)
if not end_of(session) then return {-22} end
freeing()
if object ~= '' then note(session, object) end
local till = now
if tonumber(call('HGET', HEAD, 'f')) == 0 or call('EXISTS', HEAD .. ':q') == 1 then till = serve_permits(HEAD) end
-- The answer to this call was lost, or was just put into its list.
if call('HEXISTS', DATA, me) == 1 then
  drop_answer(me)
  return {15, number_of(me), 0, 0}
end
if tonumber(call('HGET', HEAD, 'f')) > 0 then
  grant_permit(HEAD, me)
  return {15, number_of(me), 0, 0}
end
if waits == '0' then return {-20} end
return park(HEAD, me, '', till)";
    /// The arguments are the call that took the permit, and whether it is free then.
    RETURN [LINES, PERMITS] = r"
freeing()
free_permits(HEAD)
if not remove_permit(HEAD, ARGV[1]) then return {-23} end
if ARGV[2] == '1' then call('HINCRBY', HEAD, 'f', 1) end
serve_permits(HEAD)
return {0}";
    /// The arguments are the number of permits, and the most that any semaphore may have.
    ADD [LINES, PERMITS] = r"
freeing()
serve_permits(HEAD)
local found = call('HMGET', HEAD, 'f', 'b')
local count, booked = tonumber(ARGV[1]), tonumber(found[1]) + call('HLEN', DATA)
if found[2] and count > tonumber(found[2]) - booked then return {-24} end
local most = tonumber(ARGV[2]) - booked
if count > most then return {-28, math.max(0, most)} end
call('HINCRBY', HEAD, 'f', ARGV[1])
serve_permits(HEAD)
return {0}";
    AVAILABLE [LINES, PERMITS] = r"
freeing()
serve_permits(HEAD)
return {2, call('HGET', HEAD, 'f')}";
}

fn on(script: &'static Script, keys: &Keys, object: ObjectId) -> Command {
    Command::of(script, keys, object)
}

pub(super) fn take(keys: &Keys, object: ObjectId, call: &str, is_new: bool, waits: bool) -> Command {
    on(&TAKE, keys, object).bytes(call).number(u8::from(waits)).bytes(note(object, is_new))
}

/// Gives a permit back, or only gives up its ownership.
pub(super) fn give_back(keys: &Keys, object: ObjectId, call: &str, is_free: bool) -> Command {
    on(&RETURN, keys, object).bytes(call).number(u8::from(is_free))
}

pub(super) fn add(keys: &Keys, object: ObjectId, count: u64) -> Command {
    on(&ADD, keys, object).number(count).number(PERMITS_MAX)
}

pub(super) fn available(keys: &Keys, object: ObjectId) -> Command {
    on(&AVAILABLE, keys, object)
}
