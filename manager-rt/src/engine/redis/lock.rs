//! `Lock` and `RLock`.
//!
//! The head holds who has the lock: `o` is the call that took it, `h` the thread, `t` the token. In the [ordinary case](super::ordinary), the field
//! `:TOKEN` stands in place of `o`. If it has a lease, `l` is when that ends, and
//! `r` how long it is. `d` says that the holder before it died, `m` that it waited for a notification in vain, and `x` that the
//! last holder did not release the lock. `w` is there if any of `l`, `d`, `m` and `x` is, or if a call may wait. `n` is the session that noted
//! the lock last, if it has not ended.
//!
//! A token is one more than the last token, or the moment in microseconds at which the session of the holder began, or at which the
//! lock was handed over, whichever is greater. No token is ahead of the clock of Redis. So tokens grow even if Redis has lost the last ones: sessions
//! begin anew with each run of Redis, and thus later than any grant that it has lost.

use super::command::{Command, Keys};
use super::line::LINES;
use super::ordinary::{ACQUIRE_FREE, RELEASE_OWN};
use super::script::{Script, scripts};
use super::words::{Words, packed};
use crate::proto::ObjectId;

/// Grants and frees locks. `SERVE` knows how to serve the line of each kind.
pub(super) const LOCKS: &str = r"
local function granted(head, waited)
  local found = call('HMGET', head, 't', 'd', 'm', 'l')
  local died, timed_out = tonumber(found[2] or 0), tonumber(found[3] or 0)
  if not found[4] then return {15, found[1], died, timed_out} end
  return {16, found[1], died, timed_out, digits(waited * 1000)}
end
local function grant(head, waiter, thread, lease, timed_out, waited)
  local found = call('HMGET', head, 't', 'x')
  local token, died = digits(math.max(now, tonumber(found[1] or 0) + 1)), found[2] and 1 or 0
  call('HDEL', head, 'x', 'd', 'm', 'l', 'r')
  call('HSET', head, 'o', waiter, 'h', thread, 't', token, 'w', 1)
  if died == 1 then call('HSET', head, 'd', 1) end
  if timed_out == 1 then call('HSET', head, 'm', 1) end
  if lease == '0' then return {15, token, died, timed_out} end
  call('HSET', head, 'l', digits(now + tonumber(lease)), 'r', lease)
  return {16, token, died, timed_out, digits(waited * 1000)}
end
-- The call that has the lock, its thread, until when it surely has it, and its token.
local function holder_of(head)
  local found = call('HMGET', head, 'o', 'h', 'l', 't')
  if not found[1] then
    -- A plain command may release it. From now on, it finds nothing, and a script does it.
    local plain = found[4] and ':' .. found[4]
    local holder = plain and call('HGET', head, plain)
    if not holder then return nil end
    call('HDEL', head, plain)
    call('HSET', head, 'o', holder)
    found[1] = holder
  end
  local ends, lease = end_of(session_of(found[1])), tonumber(found[3])
  if ends and not lease then return found[1], found[2], ends, found[4] end
  if ends and lease > now then return found[1], found[2], math.min(ends, lease), found[4] end
  call('HDEL', head, 'o')
  call('HSET', head, 'x', 1, 'w', 1)
end
-- Hands over a lock that nobody holds. The dead in its line may line up others, who are found here.
local busy = {}
local function hand_over(head)
  if busy[head] then return end
  busy[head] = true
  local waiter, wants = next_of(head)
  busy[head] = nil
  if not waiter then return end
  local thread, lease, since, timed_out = wants:match('^(%d+):(%d+):(%d+):?(%d*)')
  local words = grant(head, waiter, thread, lease, timed_out == '1' and 1 or 0, math.max(0, now - tonumber(since)))
  for at, word in ipairs(words) do words[at] = tostring(word) end
  answer(waiter, table.concat(words, ' '))
end
local function serve_lock(head)
  if not holder_of(head) then hand_over(head) end
end
SERVE['6'], SERVE['7'] = serve_lock, serve_lock
-- Moves a call that waited for a notification to the line of its lock.
local function line_up(condition, waiter, wants, timed_out)
  local thread, lease, since, lock = wants:match('^(%d+):(%d+):(%d+):(%d+)$')
  local head = TAG .. 'o:' .. lock
  if call('EXISTS', head) == 0 then return answer(waiter, '-1') end
  call('HSET', WAITS, waiter, table.concat({thread, lease, since, timed_out, condition}, ':'))
  call('RPUSH', head .. ':q', waiter)
  call('HSET', head, 'w', 1)
  serve_lock(head)
end
local function notify(head, count)
  local woken = 0
  while woken < count do
    local waiter, wants = next_of(head)
    if not waiter then break end
    line_up(head, waiter, wants, 0)
    woken = woken + 1
  end
  return woken
end
-- A call that was notified and died before it had its lock again uses up no notification.
GONE[1] = function(wants)
  local condition = wants:match('^%d+:%d+:%d+:0:(.+)$')
  if condition then notify(condition, 1) end
end
";

/// Checks that the object is a lock of either kind.
const CHECKED_LOCK: &str = r"
local KIND = call('HGET', HEAD, 'k')
if KIND ~= '6' and KIND ~= '7' then
  if KIND then return {-2, tonumber(KIND)} end
  return {-1}
end
";

scripts! {
    @ "";
    /// The arguments are the call, the thread, whether the call waits, when its session began, and the lease in microseconds, if there is one.
    ACQUIRE (ACQUIRE_FREE) [CHECKED_LOCK, LINES, LOCKS] = r"
local lease = ARGV[5] or '0'
if not end_of(session) then return {-22} end
freeing()
note(session, HEAD:match('%d+$'))
call('HSET', HEAD, 'n', session)
local holder, whose, till = holder_of(HEAD)
-- The answer to this call was lost.
if holder == me then
  drop_answer(me)
  return granted(HEAD, 0)
end
if holder and whose == thread and session_of(holder) == session then
  if KIND == '7' then
    local again = granted(HEAD, 0)
    -- The first level of the lock has learned how it came to it.
    again[3], again[4] = 0, 0
    return again
  end
  return {waits == '0' and -20 or -21}
end
if not holder and call('EXISTS', HEAD .. ':q') == 1 then
  hand_over(HEAD)
  holder, whose, till = holder_of(HEAD)
end
if not holder then
  local answer = grant(HEAD, me, thread, lease, 0, 0)
  -- Nobody waits. The next call is an ordinary one.
  if answer[1] == 15 and answer[3] == 0 then call('HDEL', HEAD, 'w') end
  return answer
end
if waits == '0' then return {-20} end
-- The answer was just put into the list of this call.
if holder == me then return {17, '1000000'} end
call('HSET', HEAD, 'w', 1)
return park(HEAD, me, thread .. ':' .. lease, till)";
    /// The arguments are the session and the token.
    RELEASE (RELEASE_OWN) [CHECKED_LOCK, LINES, LOCKS] = r"
local holder, _, _, token = holder_of(HEAD)
if not holder or session_of(holder) ~= ARGV[1] or token ~= ARGV[2] then
  freeing()
  if not holder then hand_over(HEAD) end
  return {-23}
end
-- This is a removal, so a full memory does not refuse what follows.
call('HDEL', HEAD, 'o')
hand_over(HEAD)
return {0}";
    IS_LOCKED [CHECKED_LOCK, LINES, LOCKS] = r"
freeing()
serve_lock(HEAD)
return {1, holder_of(HEAD) and 1 or 0}";
}

/// A call that takes a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acquire<'a> {
    pub(super) call: &'a str,
    pub(super) thread: u64,
    /// In nanoseconds; 0 for none.
    pub(super) lease: u64,
    /// When its session began, in microseconds of the clock of Redis.
    pub(super) begun: u64,
}

fn on(script: &'static Script, keys: &Keys, object: ObjectId) -> Command {
    Command::of(script, keys, object)
}

pub(super) fn acquire(keys: &Keys, object: ObjectId, call: Acquire<'_>, waits: bool) -> Command {
    let Acquire { call, thread, lease, begun } = call;
    let command = on(&ACQUIRE, keys, object).bytes(call).number(thread).number(u8::from(waits)).number(begun);
    if lease == 0 { command } else { command.number(lease.div_ceil(1000)) }
}

pub(super) fn release(keys: &Keys, object: ObjectId, session: &str, token: u64) -> Command {
    on(&RELEASE, keys, object).bytes(session).number(token)
}

/// Returns the command that releases a lock in the ordinary case, and otherwise does nothing.
pub(super) fn release_plainly(keys: &Keys, object: ObjectId, token: u64) -> Vec<u8> {
    let mut words = Words::new();
    words.add(&[b"HDEL"]);
    keys.add_head(&mut words, object);
    words.add_around(&[b"", b":"], token, b"");
    packed(&[&words])
}

pub(super) fn is_locked(keys: &Keys, object: ObjectId) -> Command {
    on(&IS_LOCKED, keys, object)
}
