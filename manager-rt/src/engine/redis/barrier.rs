//! `Barrier`.
//!
//! | where | what it holds |
//! |---|---|
//! | `c` in the head | the number of parties |
//! | `b` in the head | whether it is broken |
//! | `r` in the head | how many rounds have ended |
//! | `t` in the head | the session that runs the action |
//! | `u` in the head | the number of taken places; `g` those of them that are free when the round ends |
//! | `:q`, `:p` after the head | the calls that have arrived in this round, and those that arrived while the action runs |
//! | `:w` after the head | a SET of the sessions of the calls in this round |
//! | `:z`, `:a` after the head | HASHes from sessions to the places that they registered, and to those of them at which calls have arrived |
//! | the data | a HASH from calls to their answers, until their processes have read them |
//! | `:s` after the head | a SET of the sessions of those calls |

use std::cell::RefCell;

use super::Redis;
use super::command::{Command, Keys};
use super::line::{LINES, note};
use super::script::{Script, scripts};
use super::session::next_call;
use super::wait::Ask;
use crate::backend::CallError;
use crate::proto::{Answer, BarrierOp, Call, Fault, Kind, ObjectId, Payload, Raw};

/// Ends rounds.
pub(super) const BARRIERS: &str = r"
local function count_in(head, field) return tonumber(call('HGET', head, field) or 0) end
-- Notes the answer to a call: another connection of it may ask for it.
local function record(head, waiter, text)
  call('HSET', head .. ':d', waiter, text)
  call('SADD', head .. ':s', session_of(waiter))
  return text
end
local function settle(waiter, head, text) answer(waiter, record(head, waiter, text)) end
local function end_round(head)
  -- Redis takes no -0.
  call('HINCRBY', head, 'u', 0 - count_in(head, 'g'))
  call('HDEL', head, 't', 'g')
  call('UNLINK', head .. ':a', head .. ':w')
  call('HINCRBY', head, 'r', 1)
end
local function settle_all(head, tail, text)
  while true do
    local waiter = next_of(head, tail)
    if not waiter then return end
    settle(waiter, head, text)
  end
end
-- Breaks a barrier, but leaves those alone that have not arrived yet.
local function break_round(head)
  settle_all(head, ':q', '-27')
  call('HSET', head, 'b', 1)
  end_round(head)
end
local function break_up(head)
  break_round(head)
  settle_all(head, ':p', '-27')
end
-- Answers each call of a round with the position in which it arrived.
local function pass(head)
  local index = 0
  while true do
    local waiter = next_of(head)
    if not waiter then break end
    settle(waiter, head, '2 ' .. index)
    index = index + 1
  end
  end_round(head)
end
-- Takes a place: one that the session registered, or a free one. Returns why there is none.
local function arrive(head, session)
  local arrived = tonumber(call('HGET', head .. ':a', session) or 0)
  if arrived < tonumber(call('HGET', head .. ':z', session) or 0) then
    call('HINCRBY', head .. ':a', session, 1)
  else
    local parties = count_in(head, 'c')
    if count_in(head, 'u') >= parties then return '-10 ' .. digits(parties) end
    call('HINCRBY', head, 'u', 1)
    call('HINCRBY', head, 'g', 1)
  end
  call('SADD', head .. ':w', session)
end
local function is_last(head) return call('LLEN', head .. ':q') + 1 == count_in(head, 'c') end
-- Completes a round. Returns the answer to its last call.
local function complete(head, session, acts)
  local index = call('LLEN', head .. ':q')
  if acts then
    call('HSET', head, 't', session)
    return '19 ' .. index .. ' ' .. digits(count_in(head, 'r'))
  end
  pass(head)
  return '2 ' .. index
end
-- Lets the calls that arrived too early into the round that begins, and into the next ones.
local function let_in(head)
  while call('HEXISTS', head, 't') == 0 do
    local waiter = first_of(head, ':p')
    if not waiter then return end
    call('LPOP', head .. ':p')
    local session = session_of(waiter)
    local text = arrive(head, session)
    if not text and is_last(head) then
      text = complete(head, session, call('HGET', WAITS, waiter):sub(1, 2) == 'b1')
    end
    if text then
      wants_of(waiter)
      settle(waiter, head, text)
    else call('RPUSH', head .. ':q', waiter) end
  end
end
-- Forgets the places that a session registered. Its waiting calls keep theirs until the round ends.
local function forget(head, session)
  local arrived = tonumber(call('HGET', head .. ':a', session) or 0)
  call('HINCRBY', head, 'u', arrived - call('HGET', head .. ':z', session))
  call('HINCRBY', head, 'g', arrived)
  call('HDEL', head .. ':z', session)
  call('HDEL', head .. ':a', session)
end
-- Breaks the barrier if a session has ended that it needs. Returns until when no other one surely ends.
local function serve_barrier(head)
  local till, is_dead, ended = now + 3600000000, false, {}
  local function lives(session)
    local ends = end_of(session)
    if not ends then return false end
    till = math.min(till, ends)
    return true
  end
  for _, session in ipairs(call('SMEMBERS', head .. ':w')) do
    if not lives(session) then is_dead = true end
  end
  for _, session in ipairs(call('HKEYS', head .. ':z')) do
    if not lives(session) then
      is_dead = true
      forget(head, session)
    end
  end
  local acting = call('HGET', head, 't')
  if acting and not lives(acting) then is_dead = true end
  if is_dead then break_up(head) end
  for _, session in ipairs(call('SMEMBERS', head .. ':s')) do
    if not end_of(session) then
      ended[session] = true
      call('SREM', head .. ':s', session)
    end
  end
  if next(ended) then
    for _, waiter in ipairs(call('HKEYS', head .. ':d')) do
      if ended[session_of(waiter)] then call('HDEL', head .. ':d', waiter) end
    end
  end
  return till
end
SERVE['14'] = serve_barrier
-- A party that no longer waits.
LEFT['14'] = break_up
";

scripts! {
    /// The arguments after the kind are the call, whether it has an action, whether it waits, the object, or nothing if its session has used
    /// the object before, and a mark, if the call was in the line before.
    WAIT [LINES, BARRIERS] = r"
local me, acts, waits, object, mark = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local session = session_of(me)
-- The answer to this call may have been lost, and its session may have ended since.
local function mine()
  local text = call('HGET', DATA, me)
  if not text then return nil end
  drop_answer(me)
  return words_of(text)
end
local found = mine()
if found then return found end
if not end_of(session) then return lost(me, mark ~= '') end
freeing()
if object ~= '' then note(session, object) end
local till = serve_barrier(HEAD)
local function parked()
  return {17, digits(math.max(0, till - now)), 1}
end
found = mine()
if found then return found end
if call('HEXISTS', WAITS, me) == 1 then return parked() end
if mark ~= '' then return {waits == '0' and -25 or -22} end
if call('HEXISTS', HEAD, 'b') == 1 then return {-27} end
local is_early = call('HEXISTS', HEAD, 't') == 1
if not is_early then
  local fault = arrive(HEAD, session)
  if fault then return words_of(fault) end
  if is_last(HEAD) then return words_of(record(HEAD, me, complete(HEAD, session, acts == '1'))) end
  -- A party that does not wait counts as one that gives up.
  if waits == '0' then break_up(HEAD) end
end
if waits == '0' then return {-25} end
park(HEAD, me, 'b' .. acts, till, is_early and ':p' or ':q')
till = math.min(till, end_of(session))
return parked()";
    /// The arguments after the kind are the session that has run the action, and the round.
    END_ROUND [LINES, BARRIERS] = r"
freeing()
serve_barrier(HEAD)
local found = call('HMGET', HEAD, 't', 'r')
if found[1] ~= ARGV[2] or (found[2] or '0') ~= ARGV[3] then return {-23} end
pass(HEAD)
let_in(HEAD)
return {0}";
    /// The arguments after the kind are the call, the object, or nothing if its session has used the object before, and the answer.
    ENROL [LINES, BARRIERS] = r"
local me, object = ARGV[2], ARGV[3]
local session = session_of(me)
if not end_of(session) then return {-22} end
freeing()
serve_barrier(HEAD)
local text = call('HGET', DATA, me)
if text then return words_of(text) end
if call('HEXISTS', HEAD, 'b') == 1 then return {-27} end
local parties = count_in(HEAD, 'c')
if count_in(HEAD, 'u') >= parties then return {-10, parties} end
if object ~= '' then note(session, object) end
call('HINCRBY', HEAD, 'u', 1)
call('HINCRBY', ORDER, session, 1)
return words_of(record(HEAD, me, ARGV[4]))";
    /// The argument after the kind is the call.
    WITHDRAW [LINES, BARRIERS] = r"
local me = ARGV[2]
local session = session_of(me)
freeing()
serve_barrier(HEAD)
if call('HEXISTS', DATA, me) == 1 then return {0} end
local places = tonumber(call('HGET', ORDER, session) or 0)
if places == 0 then return {-23} end
-- A call that waits there keeps its place until the round ends.
if tonumber(call('HGET', HEAD .. ':a', session) or 0) == places then
  call('HINCRBY', HEAD .. ':a', session, -1)
  call('HINCRBY', HEAD, 'g', 1)
else call('HINCRBY', HEAD, 'u', -1) end
if call('HINCRBY', ORDER, session, -1) == 0 then call('HDEL', ORDER, session) end
return words_of(record(HEAD, me, '0'))";
    ABORT [LINES, BARRIERS] = "freeing() serve_barrier(HEAD) break_up(HEAD) return {0}";
    RESET [LINES, BARRIERS] = r"
freeing()
serve_barrier(HEAD)
break_round(HEAD)
call('HDEL', HEAD, 'b')
let_in(HEAD)
return {0}";
    PARTIES = "return {2, call('HGET', HEAD, 'c')}";
    WAITING [LINES, BARRIERS] = "freeing() serve_barrier(HEAD) return {2, call('LLEN', HEAD .. ':q')}";
    IS_BROKEN [LINES, BARRIERS] = "freeing() serve_barrier(HEAD) return {1, call('HEXISTS', HEAD, 'b')}";
}

fn on(script: &'static Script, keys: &Keys, object: ObjectId) -> Command {
    Command::on(script, keys, object, Kind::Barrier)
}

fn wait(keys: &Keys, object: ObjectId, call: &str, (acts, is_new): (bool, bool), ask: Ask) -> Command {
    let wait = on(&WAIT, keys, object).bytes(call).number(u8::from(acts)).number(u8::from(ask.joins));
    wait.bytes(note(object, is_new)).bytes(ask.mark.map(|mark| mark.to_string()).unwrap_or_default())
}

/// Returns the script call of an operation that needs no session.
pub(super) fn command(keys: &Keys, object: ObjectId, op: &BarrierOp) -> Option<Command> {
    let script = match op {
        BarrierOp::Abort => &ABORT,
        BarrierOp::Reset => &RESET,
        BarrierOp::Parties => &PARTIES,
        BarrierOp::Waiting => &WAITING,
        BarrierOp::IsBroken => &IS_BROKEN,
        _ => return None,
    };
    Some(on(script, keys, object))
}

impl Redis {
    /// Runs a call of a barrier that needs a session, or returns `None` if it needs none.
    pub(super) fn call_of_party(
        &self,
        call: &Call<Raw<'_>>,
        op: &BarrierOp,
    ) -> Option<Result<Answer<Payload>, CallError>> {
        let (keys, object) = (&self.keys, call.object);
        Some(match *op {
            BarrierOp::Wait { acts } => {
                self.take(call, |_, name, is_new, ask| wait(keys, object, name, (acts, is_new), ask))
            }
            BarrierOp::Enrol => self.take(call, |session, name, is_new, _| {
                // The places of one session are alike.
                let answer = format!("15 {} 0 0", session.serial);
                on(&ENROL, keys, object).bytes(name).bytes(note(object, is_new)).bytes(answer)
            }),
            BarrierOp::Register => self.take(call, |_, name, is_new, _| {
                on(&ENROL, keys, object).bytes(name).bytes(note(object, is_new)).bytes("0")
            }),
            BarrierOp::Withdraw { token } => self.withdraw(call, Some(token)),
            BarrierOp::Unregister => self.withdraw(call, None),
            BarrierOp::EndRound { round } => {
                let ended = self.give_back(call, |session| {
                    Some(on(&END_ROUND, keys, object).bytes(&*session.name).number(round))
                });
                ended.map(|answer| {
                    answer.map_err(|fault| match fault {
                        Fault::NotOwned => Fault::Broken,
                        fault => fault,
                    })
                })
            }
            _ => return None,
        })
    }

    /// Takes back a registration: one of the session with this number, or of any.
    fn withdraw(&self, call: &Call<Raw<'_>>, token: Option<u64>) -> Result<Answer<Payload>, CallError> {
        let name = RefCell::new(String::new());
        let answer = self.give_back(call, |session| {
            // No other session has the name of the call.
            let is_owner = token.is_none_or(|token| token == session.serial);
            *name.borrow_mut() = if is_owner { session.call(next_call()) } else { String::new() };
            Some(on(&WITHDRAW, &self.keys, call.object).bytes(name.borrow().as_bytes()))
        })?;
        if answer.is_ok() {
            let read = was_read(&self.keys, call.object, &name.borrow());
            if let Err(error) = self.link.post(&read) {
                tracing::debug!(%error, "the record of a call stays until the end of its session");
            }
        }
        Ok(answer)
    }
}

/// Returns the command that removes the answer to a call, which was read.
pub(super) fn was_read(keys: &Keys, object: ObjectId, call: &str) -> redis::Cmd {
    let [_, data, _] = keys.of_object(object);
    let mut remove = redis::cmd("HDEL");
    remove.arg(data).arg(call);
    remove
}
