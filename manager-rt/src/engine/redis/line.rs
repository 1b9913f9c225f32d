//! The scripts of calls that wait.
//!
//! | key | what it holds |
//! |---|---|
//! | `sessions` | from sessions to the moments at which they end, in microseconds of the clock of Redis |
//! | `waits` | from waiting calls to what they wait for: the object, the thread, the lease, the moment at which they began |
//! | `s:SESSION` | the objects of which the session has held something, or for which it has waited |
//! | `w:CALL` | the answer to a call that waits |
//! | `o:OBJECT:q` | the line: the calls that wait for the object, the longest first |
//! | `o:OBJECT:p`, `o:OBJECT:j` | the lines of a queue: of those who want to put something, and of those who wait for the end of all tasks |
//! | `i:CALL` | the items that a call wants to put |
//!
//! A call is named after its session and a number. Whoever frees something hands it over to the first call in the line whose
//! session lives, by putting the answer into that call's own list. So nobody overtakes, and no wake-up is lost. What a session
//! held that has ended is freed by whoever looks at the object next: the waiters look once the session may have ended.

use super::barrier::BARRIERS;
use super::command::{Command, Keys};
use super::lock::LOCKS;
use super::page::PAGE;
use super::queue::QUEUES;
use super::script::{Script, compile};
use super::semaphore::PERMITS;
use crate::proto::ObjectId;

/// What all scripts of calls that wait have in common.
pub(super) const LINES: &str = r"
local TAG = HEAD:match('^[^}]*}:')
local SESSIONS, WAITS = TAG .. 'sessions', TAG .. 'waits'
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- A number as text with all of its digits.
local function digits(number) return string.format('%.0f', number) end
local function session_of(waiter) return waiter:sub(1, 16) end
local function number_of(waiter) return waiter:sub(18) end
-- When a session ends, or nil if it has ended.
local function end_of(session)
  local ends = tonumber(call('ZSCORE', SESSIONS, session) or 0)
  if ends > now then return ends end
end
local function answer(waiter, text)
  local list = TAG .. 'w:' .. waiter
  call('RPUSH', list, text)
  -- A call whose process has died never reads it.
  call('PEXPIRE', list, 600000)
end
local function words_of(text)
  local words = {}
  for word in text:gmatch('[^ ]+') do words[#words + 1] = tonumber(word) end
  return words
end
-- The answer to a call whose session has ended. It begins again, unless it may have done what it waited for: that stays done.
local function lost(waiter, was_parked)
  if not was_parked or call('HEXISTS', WAITS, waiter) == 1 then return {-22} end
  local text = call('LINDEX', TAG .. 'w:' .. waiter, 0)
  return text and words_of(text) or {-30}
end
local function drop_answer(waiter) call('UNLINK', TAG .. 'w:' .. waiter) end
-- Forgets what a call waits for, and returns it.
local function wants_of(waiter)
  local wants = call('HGET', WAITS, waiter)
  call('HDEL', WAITS, waiter)
  if wants and wants:sub(1, 1) == 'p' then call('UNLINK', TAG .. 'i:' .. waiter) end
  return wants
end
-- What else has to be done if a call dies that waits for this.
local GONE = {}
local function dropped(waiter, wants)
  -- Its process may live, and begin another session.
  if wants then answer(waiter, '-22') end
  for _, gone in ipairs(GONE) do gone(wants or '') end
end
-- The lines of an object.
local TAILS = {':q', ':p', ':j'}
-- Takes the first call out of a line whose session lives.
local function next_of(head, tail)
  while true do
    local waiter = call('LPOP', head .. (tail or ':q'))
    if not waiter then return nil end
    local wants = wants_of(waiter)
    if wants and end_of(session_of(waiter)) then return waiter, wants end
    dropped(waiter, wants)
  end
end
-- The same, but leaves it in the line.
local function first_of(head, tail)
  while true do
    local waiter = call('LINDEX', head .. tail, 0)
    if not waiter then return nil end
    if call('HEXISTS', WAITS, waiter) == 1 and end_of(session_of(waiter)) then return waiter end
    call('LPOP', head .. tail)
    dropped(waiter, wants_of(waiter))
  end
end
-- Puts a call into the line. Until the moment in the answer, nothing is freed without a word.
local function park(head, waiter, wants, till, tail)
  if call('HEXISTS', WAITS, waiter) == 0 then
    call('HSET', WAITS, waiter, wants .. ':' .. digits(now))
    call('RPUSH', head .. (tail or ':q'), waiter)
  end
  return {17, digits(math.max(0, till - now))}
end
local function note(session, object) call('SADD', TAG .. 's:' .. session, object) end
-- How to serve the line of an object of each kind, and what else has to be done if a call gives up that has arrived.
local SERVE, LEFT = {}, {}
";

/// Serves the lines of all kinds of objects.
const SERVES: &[&str] = &[
    LOCKS,
    PERMITS,
    PAGE,
    QUEUES,
    BARRIERS,
    r"
local function serve(head)
  local kind = call('HGET', head, 'k')
  if kind and SERVE[kind] then SERVE[kind](head) end
end
",
];

/// Begins a session. The arguments are the session and its lease. Returns the moment.
static BEGIN: Script = Script::new(|| {
    compile(&[LINES, "freeing() call('ZADD', SESSIONS, digits(now + tonumber(ARGV[2])), ARGV[1]) return now"])
});

/// Extends a session, unless it has ended. Returns whether it did, and which other sessions have ended.
static RENEW: Script = Script::new(|| {
    compile(&[
        LINES,
        r"
freeing()
local lives = end_of(ARGV[1])
if lives then call('ZADD', SESSIONS, digits(now + tonumber(ARGV[2])), ARGV[1]) end
local out = call('ZRANGEBYSCORE', SESSIONS, '-inf', digits(now), 'LIMIT', 0, 8)
table.insert(out, 1, lives and 1 or 0)
return out",
    ])
});

/// Ends a session, and frees what it held of some objects. Returns how many objects are left. Until that is none, the session
/// is known as one that has ended, so that another keeper goes on if this one cannot.
static END: Script = Script::new(|| {
    let end = r"
freeing()
local session = ARGV[1]
if ARGV[2] == 'lost' and end_of(session) then return {0} end
call('ZADD', SESSIONS, 0, session)
local objects = TAG .. 's:' .. session
for _ = 1, 64 do
  local object = call('SPOP', objects)
  if not object then break end
  local head = TAG .. 'o:' .. object
  -- The calls of the session in the line may concern others, so they are found there first.
  serve(head)
  -- It may have been noted only here.
  if call('HGET', head, 'n') == session then call('HDEL', head, 'n') end
  for _, tail in ipairs(TAILS) do
    for _, waiter in ipairs(call('LRANGE', head .. tail, 0, -1)) do
      if session_of(waiter) == session then
        call('LREM', head .. tail, 1, waiter)
        dropped(waiter, wants_of(waiter))
      end
    end
  end
  serve(head)
end
local left = call('SCARD', objects)
if left == 0 then call('ZREM', SESSIONS, session) end
return {left}";
    compile(&[&[LINES], SERVES, &[end]].concat())
});

/// Takes a call out of the line, which answers it. If it is not there, it has been answered before.
static LEAVE: Script = Script::new(|| {
    let leave = r"
freeing()
if wants_of(ARGV[1]) then
  local left = LEFT[call('HGET', HEAD, 'k')]
  for _, tail in ipairs(TAILS) do
    if call('LREM', HEAD .. tail, 1, ARGV[1]) == 1 and tail == ':q' and left then left(HEAD) end
  end
  answer(ARGV[1], '-25')
  -- The next one in the line may want less.
  serve(HEAD)
end
return {0}";
    compile(&[&[LINES], SERVES, &[leave]].concat())
});

fn of_session(script: &'static Script, keys: &Keys, session: &str) -> Command {
    Command::with(script, keys, &["none"]).bytes(session)
}

/// Begins a session with this lease, in microseconds.
pub(super) fn begin(keys: &Keys, session: &str, lease: u128) -> Command {
    of_session(&BEGIN, keys, session).number(lease)
}

pub(super) fn renew(keys: &Keys, session: &str, lease: u128) -> Command {
    of_session(&RENEW, keys, session).number(lease)
}

/// Ends a session, or only one that has not been renewed in time.
pub(super) fn end(keys: &Keys, session: &str, only_if_lost: bool) -> Command {
    of_session(&END, keys, session).bytes(if only_if_lost { "lost" } else { "" })
}

pub(super) fn leave(keys: &Keys, object: ObjectId, call: &str) -> Command {
    Command::of(&LEAVE, keys, object).bytes(call)
}

/// Returns the argument by which a session notes that it uses an object, if it has not done so.
pub(super) fn note(object: ObjectId, is_new: bool) -> String {
    if is_new { object.0.to_string() } else { String::new() }
}
