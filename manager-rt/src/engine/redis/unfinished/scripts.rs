//! The scripts that know the unfinished tasks of a queue in another server.

use crate::engine::redis::line::LINES;
use crate::engine::redis::script::{Script, compile};

/// The most tasks that are done and may be delivered again. Beyond that, those that were done first are handed out again if they are.
#[cfg(test)]
const DONES_MAX: u32 = 65_536;
/// How long nothing must be seen of a task until it counts as one that was never put, in microseconds.
#[cfg(test)]
const UNSEEN_MICROS: u32 = 5_000_000;
/// How long nothing must be seen of a task until it counts as lost, in microseconds.
#[cfg(test)]
const LOST_MICROS: u32 = 60_000_000;
/// How long RabbitMQ lets a process hold a task, and one minute more, since it looks each minute, in microseconds.
#[cfg(test)]
const HELD_MICROS_MAX: u32 = 1_860_000_000;
/// How long nobody must have looked for tasks until it begins anew how long nothing was seen of them, in microseconds.
#[cfg(test)]
const LOOKS_MICROS_MAX: u32 = 15_000_000;

/// What the scripts have in common.
const TASKS: &str = r"
local UNFINISHED, PUTS, DONES, VOIDS, SUSPECTS = HEAD .. ':u', HEAD .. ':b', HEAD .. ':c', HEAD .. ':v', HEAD .. ':i'
-- Forgets an unfinished task. Returns whether there was one.
local function drop(id)
  call('HDEL', PUTS, id)
  call('HDEL', SUSPECTS, id)
  return call('HDEL', UNFINISHED, id) == 1
end
-- Notes that a task is not to be handed out any more.
local function close(id)
  call('ZADD', DONES, digits(now), id)
  if call('ZCARD', DONES) > 65536 then call('HDEL', VOIDS, call('ZPOPMIN', DONES)[1]) end
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
";

/// Declares scripts that use the parts above.
macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $code:expr;)+) => {$(
        $(#[$doc])*
        pub(super) static $name: Script = Script::new(|| compile(&[LINES, TASKS, $code]));
    )+};
}

scripts! {
    /// Makes the queue known, unless somebody removes it who lives. The argument says whether that does not matter. Returns whether it
    /// does.
    KNOW = r"
local remover = call('HGET', HEAD, 'x')
if ARGV[1] == '0' and remover and end_of(session_of(remover)) then return {1} end
call('HSETNX', HEAD, 'e', 0)
call('HDEL', HEAD, 'x')
return {0}";
    /// Says who removes the queue. The arguments are the session, and a name that no other removal has.
    REMOVING = r"
if not end_of(ARGV[1]) then return {-22} end
if call('HEXISTS', HEAD, 'e') == 1 then call('HSET', HEAD, 'x', ARGV[1] .. ARGV[2]) end
return {0, ARGV[1] .. ARGV[2]}";
    /// Says that this one does not remove the queue.
    KEEP = "if call('HGET', HEAD, 'x') == ARGV[1] then call('HDEL', HEAD, 'x') end return {0}";
    /// Forgets the queue, if this one removes it.
    FORGET = r"
if call('HGET', HEAD, 'x') ~= ARGV[1] then return {0} end
freeing()
while true do
  local waiter = next_of(HEAD, ':j')
  if not waiter then break end
  answer(waiter, '-1')
end
for _, key in ipairs({HEAD, UNFINISHED, PUTS, DONES, VOIDS, SUSPECTS}) do call('UNLINK', key) end
return {0}";
    /// Notes tasks that are about to be put. The arguments are the session, the run of Redis in which it began, and the tasks.
    BEGIN_PUT = r"
-- What is put now may be removed, and would count.
if call('HEXISTS', HEAD, 'e') == 0 or call('HEXISTS', HEAD, 'x') == 1 then return {-1} end
if not end_of(ARGV[1]) then return {-22} end
for at = 3, #ARGV do
  call('HSET', UNFINISHED, ARGV[at], 'w')
  call('HSET', PUTS, ARGV[at], ARGV[1] .. ARGV[2])
end
return {0}";
    /// Notes that tasks were put. Those of which nothing was seen for so long that they were given up count again. Returns how many
    /// were given up and have arrived since, so that nobody was given them.
    CONFIRM = r"
freeing()
if call('HEXISTS', HEAD, 'e') == 0 then return {0} end
local refused = 0
for _, id in ipairs(ARGV) do
  local given_up = call('HGET', VOIDS, id)
  if given_up == 'd' then
    refused = refused + 1
  else
    if given_up then
      call('HDEL', VOIDS, id)
      call('ZREM', DONES, id)
    end
    if call('HDEL', PUTS, id) == 0 and call('HEXISTS', UNFINISHED, id) == 0 and not call('ZSCORE', DONES, id) then
      call('HSET', UNFINISHED, id, 'w')
    end
  end
end
return {refused}";
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
  if call('HGET', UNFINISHED, id) == 'w' then call('HSET', PUTS, id, '?' .. (call('HGET', PUTS, id) or ''):sub(17)) end
end
return {0}";
    /// Notes who was given a task. The arguments are the task and the call. Returns `true` if the task is done, or was given up.
    CLAIM = r"
local id, me = ARGV[1], ARGV[2]
if not end_of(session_of(me)) then return {-22} end
if call('ZSCORE', DONES, id) then
  if call('HEXISTS', VOIDS, id) == 1 then call('HSET', VOIDS, id, 'd') end
  return {1, 1}
end
freeing()
drop(id)
call('HSET', UNFINISHED, id, me)
return {1, 0}";
    /// Ends a task of a call. The arguments are the task, the call, and whether the answer to an earlier attempt was lost.
    FINISH = r"
local id = ARGV[1]
if call('HGET', UNFINISHED, id) ~= ARGV[2] then
  if ARGV[3] == '1' and call('ZSCORE', DONES, id) then return {0} end
  return {-23}
end
drop(id)
close(id)
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
return {call('HLEN', UNFINISHED), tonumber(call('HGET', HEAD, 'e')), now}";
    /// Looks at some of the tasks of which nothing is seen. The arguments are whether the queue had tasks to deliver, the time before that
    /// was asked, and where to go on. A task whose put may not have happened is given up: nobody is given it any more. That is so only
    /// if Redis has not been restarted since it was noted, and has lost nothing. Returns where to go on, or 0, how many of the tasks
    /// nobody has who lives, and of how many of these nothing has been seen for too long: a minute, or 31 minutes if somebody had it
    /// whose session has ended, since that process may live, and RabbitMQ ends its lease after half an hour.
    AUDIT = r"
if call('HEXISTS', HEAD, 'e') == 0 then return {-1} end
freeing()
if ARGV[1] == '1' then
  call('UNLINK', SUSPECTS)
  return {'0', 0, 0}
end
local seen, missing, lost, has_ended, run = tonumber(ARGV[2]), 0, 0, false, nil
if ARGV[3] == '0' then
  if tonumber(call('HGET', HEAD, 'a') or 0) + 15000000 < seen then call('UNLINK', SUSPECTS) end
  call('HSET', HEAD, 'a', digits(seen))
end
local function is_of_this_run(noted)
  if not run then
    local known, info = pcall(call, 'INFO', 'server')
    run = (known and type(info) == 'string' and info:match('run_id:(%x+)') or ''):sub(1, 32)
  end
  return run ~= '' and noted == run
end
local page = call('HSCAN', UNFINISHED, ARGV[3], 'COUNT', 512)
for at = 1, #page[2], 2 do
  local id, state = page[2][at], page[2][at + 1]
  local by = state == 'w' and call('HGET', PUTS, id)
  local holder = state ~= 'w' and session_of(state) or by and by:sub(1, 1) ~= '?' and by:sub(1, 16)
  if holder and end_of(holder) then
    call('HDEL', SUSPECTS, id)
  else
    local since = call('HGET', SUSPECTS, id)
    if not since then
      since = digits(now)
      call('HSET', SUSPECTS, id, since)
    end
    local time = seen - tonumber(since)
    if by and time >= 5000000 and is_of_this_run(by:sub(holder and 17 or 2)) then
      drop(id)
      close(id)
      call('HSET', VOIDS, id, 'v')
      has_ended = true
    else
      missing = missing + 1
      if time >= (state == 'w' and 60000000 or 1860000000) then lost = lost + 1 end
    end
  end
end
if has_ended then ended() end
return {page[1], missing, lost}";
    /// Waits until no task is unfinished. The arguments are the call, whether it waits, the object, or nothing if its session has used the
    /// object before, and how often no task was unfinished when the wait began.
    JOIN = r"
local me, waits, object, mark = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if call('HEXISTS', HEAD, 'e') == 0 then return {-1} end
if not end_of(session_of(me)) then return {-22} end
freeing()
if object ~= '' then note(session_of(me), object) end
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
        assert!(AUDIT.compiled().text.contains(&format!("time >= {UNSEEN_MICROS} and")));
        assert!(AUDIT.compiled().text.contains(&format!("+ {LOOKS_MICROS_MAX} < seen")));
        assert!(AUDIT.compiled().text.contains(&format!("and {LOST_MICROS} or {HELD_MICROS_MAX})")));
    }
}
