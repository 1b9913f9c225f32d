//! The scripts that know the unfinished tasks of a queue in another server.

use crate::engine::redis::line::LINES;
use crate::engine::redis::script::{Script, compile};

/// The most tasks that are done and may be delivered again. Beyond that, those that were done first are handed out again if they are.
#[cfg(test)]
const DONES_MAX: u32 = 65_536;
/// How long nothing must be seen of a task until it counts as one that was never put, in microseconds.
#[cfg(test)]
const UNSEEN_MICROS: u32 = 5_000_000;

/// What the scripts have in common.
const TASKS: &str = r"
local UNFINISHED, PUTS, LAST, DONES, SUSPECTS = HEAD .. ':u', HEAD .. ':b', HEAD .. ':g', HEAD .. ':c', HEAD .. ':i'
local function entries(key)
  local all, flat = {}, call('HGETALL', key)
  for at = 1, #flat, 2 do all[#all + 1] = {flat[at], flat[at + 1]} end
  return all
end
-- Forgets an unfinished task. Returns whether there was one.
local function drop(id)
  call('HDEL', PUTS, id)
  call('HDEL', LAST, id)
  call('HDEL', SUSPECTS, id)
  return call('HDEL', UNFINISHED, id) == 1
end
-- Answers those who wait, if the last task has ended.
local function ended()
  if call('EXISTS', UNFINISHED) == 1 or call('HEXISTS', HEAD, 'e') == 0 then return end
  call('HINCRBY', HEAD, 'e', 1)
  while true do
    local waiter = next_of(HEAD, ':j')
    if not waiter then return end
    answer(waiter, '0')
  end
end
-- Ends the tasks whose last holder has died.
local function settle()
  local has_ended = false
  for _, entry in ipairs(entries(LAST)) do
    local id, holder = entry[1], entry[2]
    if call('HGET', UNFINISHED, id) ~= holder then call('HDEL', LAST, id)
    elseif not end_of(session_of(holder)) then has_ended = drop(id) or has_ended end
  end
  if has_ended then ended() end
end
";

/// Declares scripts that use the parts above.
macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $code:expr;)+) => {$(
        $(#[$doc])*
        pub(super) static $name: Script = Script::new(|| compile(&[LINES, TASKS, $code]));
    )+};
}

scripts! {
    /// Makes the queue known.
    KNOW = "call('HSETNX', HEAD, 'e', 0) return {0}";
    /// Says who removes the queue.
    REMOVING = "if call('HEXISTS', HEAD, 'e') == 1 then call('HSET', HEAD, 'x', ARGV[1]) end return {0}";
    /// Forgets the queue, if this one removes it.
    FORGET = r"
if call('HGET', HEAD, 'x') ~= ARGV[1] then return {0} end
freeing()
while true do
  local waiter = next_of(HEAD, ':j')
  if not waiter then break end
  answer(waiter, '-1')
end
for _, key in ipairs({HEAD, UNFINISHED, PUTS, LAST, DONES, SUSPECTS}) do call('UNLINK', key) end
return {0}";
    /// Notes tasks that are about to be put. The arguments are the session, and the tasks.
    BEGIN_PUT = r"
if call('HEXISTS', HEAD, 'e') == 0 then return {-1} end
if not end_of(ARGV[1]) then return {-22} end
for at = 2, #ARGV do
  call('HSET', UNFINISHED, ARGV[at], 'w')
  call('HSET', PUTS, ARGV[at], ARGV[1])
end
return {0}";
    /// Notes that tasks were put. Those of which nothing was seen for so long that they were given up count again.
    CONFIRM = r"
freeing()
if call('HEXISTS', HEAD, 'e') == 0 then return {0} end
for _, id in ipairs(ARGV) do
  if call('HDEL', PUTS, id) == 0 and call('HEXISTS', UNFINISHED, id) == 0 and not call('ZSCORE', DONES, id) then
    call('HSET', UNFINISHED, id, 'w')
  end
end
return {0}";
    /// Forgets tasks that were not put, unless they were delivered.
    WITHDRAW = r"
freeing()
for _, id in ipairs(ARGV) do
  if call('HGET', UNFINISHED, id) == 'w' then drop(id) end
end
ended()
return {0}";
    /// Notes that nobody knows whether tasks were put.
    DOUBT = r"
freeing()
for _, id in ipairs(ARGV) do
  if call('HGET', UNFINISHED, id) == 'w' then call('HSET', PUTS, id, '?') end
end
return {0}";
    /// Notes who was given a task. The arguments are the task, the call, and whether this was the last delivery. Returns `true` if
    /// the task is done.
    CLAIM = r"
local id, me = ARGV[1], ARGV[2]
if not end_of(session_of(me)) then return {-22} end
if call('ZSCORE', DONES, id) then return {1, 1} end
freeing()
-- If the task is not known, its message may be gone as well.
local before = call('HGET', UNFINISHED, id)
local ends = ARGV[3] == '1' or not before or before == me and call('HEXISTS', LAST, id) == 1
drop(id)
call('HSET', UNFINISHED, id, me)
if ends then call('HSET', LAST, id, me) end
return {1, 0}";
    /// Ends a task of a call. The arguments are the task, the call, and whether the answer to an earlier attempt was lost.
    FINISH = r"
local id = ARGV[1]
if call('HGET', UNFINISHED, id) ~= ARGV[2] then
  if ARGV[3] == '1' and call('ZSCORE', DONES, id) then return {0} end
  return {-23}
end
drop(id)
call('ZADD', DONES, digits(now), id)
if call('ZCARD', DONES) > 65536 then call('ZPOPMIN', DONES) end
ended()
return {0}";
    /// Returns a task of a call, or ends it if it is not delivered again.
    RELEASE = r"
freeing()
local id = ARGV[1]
if call('HGET', UNFINISHED, id) ~= ARGV[2] then return {-23} end
drop(id)
if ARGV[3] == '1' then ended() else call('HSET', UNFINISHED, id, 'w') end
return {0}";
    /// Ends tasks that have failed.
    FAILED = r"
freeing()
local has_ended = false
for _, id in ipairs(ARGV) do has_ended = drop(id) or has_ended end
if has_ended then ended() end
return {0}";
    /// Returns how many tasks are unfinished, how often there were none, and the time.
    COUNT = r"
if call('HEXISTS', HEAD, 'e') == 0 then return {-1} end
freeing()
settle()
return {call('HLEN', UNFINISHED), tonumber(call('HGET', HEAD, 'e')), now}";
    /// Looks for tasks of which nothing was seen. The arguments are whether the queue had tasks to deliver, and the time before that
    /// was asked. Returns how many tasks are unfinished although nobody has them who lives.
    AUDIT = r"
if call('HEXISTS', HEAD, 'e') == 0 then return {-1} end
freeing()
settle()
if ARGV[1] == '1' then
  call('UNLINK', SUSPECTS)
  return {2, 0}
end
local seen, missing, has_ended = tonumber(ARGV[2]), 0, false
for _, entry in ipairs(entries(PUTS)) do
  local id, by = entry[1], entry[2]
  if call('HGET', UNFINISHED, id) ~= 'w' then call('HDEL', PUTS, id)
  elseif by ~= '?' and end_of(by) then call('HDEL', SUSPECTS, id)
  else
    local since = call('HGET', SUSPECTS, id)
    if not since then call('HSET', SUSPECTS, id, digits(now))
    elseif tonumber(since) + 5000000 <= seen then has_ended = drop(id) or has_ended end
  end
end
if has_ended then ended() end
for _, entry in ipairs(entries(UNFINISHED)) do
  local id, state = entry[1], entry[2]
  if state == 'w' then
    if call('HEXISTS', PUTS, id) == 0 then missing = missing + 1 end
  elseif not end_of(session_of(state)) then missing = missing + 1 end
end
return {2, missing}";
    /// Waits until no task is unfinished. The arguments are the call, whether it waits, the object, or nothing if its session has used the
    /// object before, and how often no task was unfinished when the wait began.
    JOIN = r"
local me, waits, object, mark = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if call('HEXISTS', HEAD, 'e') == 0 then return {-1} end
if not end_of(session_of(me)) then return {-22} end
freeing()
if object ~= '' then note(session_of(me), object) end
settle()
if call('HGET', HEAD, 'e') ~= mark or call('EXISTS', UNFINISHED) == 0 then
  drop_answer(me)
  return {0}
end
if waits == '0' then return {-25} end
return park(HEAD, me, '', now + 1000000, ':j')";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_contain_their_limits() {
        assert!(FINISH.compiled().text.contains(&format!("call('ZCARD', DONES) > {DONES_MAX} then")));
        assert!(AUDIT.compiled().text.contains(&format!("tonumber(since) + {UNSEEN_MICROS} <= seen")));
    }
}
