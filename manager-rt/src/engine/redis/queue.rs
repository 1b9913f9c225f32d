//! `Queue`, and what it has in common with a [`JoinableQueue`](super::joinable_queue).
//!
//! | where | what it holds |
//! |---|---|
//! | `c` in the head | the most items; 0 for no limit |
//! | `x` in the head | whether the queue is closed |
//! | `w` in the head | whether calls may wait |
//! | `n` in the head | the session that noted the queue last, if it has not ended |
//! | the data | a LIST with the items, the oldest first |
//! | `:z` after the head | a HASH from calls to the items that they were given |
//! | `:a` after the head | a HASH with the calls whose items were put after a wait |
//! | `:s` after the head | a SET of the sessions that may have such calls |
//!
//! A process that has read its answer removes the record of its call, and does not wait for that. If it dies before, its items
//! return to the front.

use super::command::{Command, Keys, check};
use super::line::{LINES, note};
use super::ordinary::{GET_ONE, PUT_ONE};
use super::page::PAGE;
use super::script::{Script, scripts};
use super::wait::Ask;
use crate::backend::CallError;
use crate::limits::VALUES_AT_ONCE_MAX;
use crate::proto::{Fault, Kind, ObjectId, QueueOp, Raw};

/// Serves the lines of queues.
pub(super) const QUEUES: &str = r"
local function fits(head, count)
  local capacity = tonumber(call('HGET', head, 'c'))
  return capacity == 0 or call('LLEN', head .. ':d') + count <= capacity
end
-- Adds the items of waiting producers as far as there is room. Returns until when the first of the others surely waits.
local function admit(head)
  while true do
    local waiter = first_of(head, ':p')
    if not waiter then return nil end
    local items = TAG .. 'i:' .. waiter
    local count = call('LLEN', items)
    if not fits(head, count) then return end_of(session_of(waiter)) end
    for _ = 1, count do call('LMOVE', items, head .. ':d', 'LEFT', 'RIGHT') end
    call('LPOP', head .. ':p')
    wants_of(waiter)
    call('HSET', head .. ':a', waiter, 1)
    call('SADD', head .. ':s', session_of(waiter))
    answer(waiter, '0')
  end
end
-- Splits a task, or a failed one, into its number and itself.
local function parts_of(task)
  local colon = task:find(':', 1, true)
  return tonumber(task:sub(1, colon - 1)), task:sub(colon + 1)
end
-- Notes that a session uses a queue, before it is given anything.
local function note_consumer(session, object)
  note(session, object)
  call('SADD', HEAD .. ':s', session)
  call('HSET', HEAD, 'n', session)
end
-- Puts a call into a line.
local function wait_in(tail, waiter, wants, till)
  call('HSET', HEAD, 'w', 1)
  return park(HEAD, waiter, wants, till, tail)
end
-- The items that a call was given. A single one is stored as it is: no item begins like a packed list.
local function unpacked(items)
  if items:byte(1) < 128 then return {items} end
  return cmsgpack.unpack(items)
end
-- Takes items for a call: one, a task, or as many as fit in one answer. Records them, unless the call has no name.
local function take(head, waiter, max)
  local data, items = head .. ':d', nil
  if max == '' or max == 'task' then items = {call('LPOP', data)}
  else
    items = page({}, 0, tonumber(max), 1, function(at, count) return call('LRANGE', data, at, at + count - 1) end)
    call('LTRIM', data, #items, -1)
  end
  if waiter ~= '' then
    call('HSET', head .. ':z', waiter, #items == 1 and items[1] or cmsgpack.pack(items))
  end
  return items
end
-- Returns whether any consumer was served.
local function serve_getters(head)
  local has_served = false
  while call('EXISTS', head .. ':d') == 1 do
    local waiter, wants = next_of(head)
    if not waiter then break end
    take(head, waiter, wants:match('^%w*'))
    -- It asks again, and finds its items.
    answer(waiter, '17 0')
    has_served = true
  end
  return has_served
end
-- Puts a task aside that was delivered too often.
local function fail(head, task)
  local number = digits(call('HINCRBY', head, 'y', 1) - 1)
  call('ZADD', head .. ':f', number, number .. ':' .. task)
  if call('ZCARD', head .. ':f') > 65536 then call('ZPOPMIN', head .. ':f') end
end
-- Takes back an item, or a task that is not done.
local function give_back(head, item)
  local most = tonumber(call('HGET', head, 'm'))
  if most then
    local deliveries, task = parts_of(item)
    if deliveries + 1 >= most then return fail(head, task) end
    item = digits(deliveries + 1) .. ':' .. task
  end
  call('LPUSH', head .. ':d', item)
end
-- Takes back what sessions that have ended were given. Returns until when no other session surely ends.
local function free_items(head)
  local till, ended = now + 3600000000, {}
  for _, session in ipairs(call('SMEMBERS', head .. ':s')) do
    local ends = end_of(session)
    if ends then till = math.min(till, ends) else
      ended[session] = true
      call('SREM', head .. ':s', session)
      if call('HGET', head, 'n') == session then call('HDEL', head, 'n') end
    end
  end
  if not next(ended) then return till end
  for _, waiter in ipairs(call('HKEYS', head .. ':a')) do
    if ended[session_of(waiter)] then call('HDEL', head .. ':a', waiter) end
  end
  local calls = {}
  for _, waiter in ipairs(call('HKEYS', head .. ':z')) do
    if ended[session_of(waiter)] then calls[#calls + 1] = waiter end
  end
  -- The oldest call goes first in the end.
  table.sort(calls, function(one, other) return tonumber(number_of(one)) > tonumber(number_of(other)) end)
  for _, waiter in ipairs(calls) do
    local items = unpacked(call('HGET', head .. ':z', waiter))
    call('HDEL', head .. ':z', waiter)
    for at = #items, 1, -1 do give_back(head, items[at]) end
  end
  return till
end
local function answer_all(head, tail, text)
  while true do
    local waiter = next_of(head, tail)
    if not waiter then return end
    answer(waiter, text)
  end
end
-- Answers those who wait for something that cannot come any more, or for the end of all tasks.
local function finish(head)
  if call('EXISTS', head .. ':d') == 1 then return end
  if call('HEXISTS', head, 'm') == 1 then
    -- A task that is not done may come back.
    if call('EXISTS', head .. ':z') == 1 then return end
    if call('EXISTS', head .. ':j') == 1 then
      call('HINCRBY', head, 'e', 1)
      answer_all(head, ':j', '0')
    end
  end
  if call('HEXISTS', head, 'x') == 1 then answer_all(head, ':q', '-26') end
end
local function unfinished(head) return call('LLEN', head .. ':d') + call('HLEN', head .. ':z') end
local function serve_queue(head)
  local till = free_items(head)
  local ends = admit(head)
  while serve_getters(head) do ends = admit(head) end
  finish(head)
  return math.min(till, ends or till)
end
SERVE['12'], SERVE['13'] = serve_queue, serve_queue
-- What was taken by a call, as its answer.
local function given(waiter, items, max)
  if max == '' then return {4, items[1]} end
  if max == 'task' then
    local deliveries, task = parts_of(items[1])
    return {18, number_of(waiter), deliveries + 1, task}
  end
  table.insert(items, 1, 8)
  table.insert(items, 2, 0)
  return items
end
";

/// Checks that the object is a queue of the kind that the first argument names.
pub(super) const CHECKED_QUEUE: &str = r"
local found = call('HMGET', HEAD, 'k', 'c', 'x')
local KIND, CAPACITY, IS_CLOSED = found[1], tonumber(found[2]), found[3]
if KIND ~= ARGV[1] then
  if KIND then return {-2, tonumber(KIND)} end
  return {-1}
end
-- Why so many items cannot be put at all.
local function refused(count)
  if IS_CLOSED then return {-26} end
  local most = CAPACITY == 0 and 4294967295 or CAPACITY
  if count > most then return {-28, most} end
end
";

scripts! {
    @ "";
    /// Puts the items that follow, if there is room.
    PUT (PUT_ONE) [CHECKED_QUEUE, LINES, PAGE, QUEUES] = r"
local count = #ARGV - 1
local fault = refused(count)
if fault then return fault end
if count == 0 then return {0} end
if call('EXISTS', HEAD .. ':p') == 1 or not fits(HEAD, count) then
  changed()
  serve_queue(HEAD)
  if call('EXISTS', HEAD .. ':p') == 1 or not fits(HEAD, count) then return {-29} end
end
many('RPUSH', DATA, 2, #ARGV)
if call('EXISTS', HEAD .. ':q') == 1 then serve_queue(HEAD) end
-- The next call is an ordinary one.
if call('EXISTS', HEAD .. ':q', HEAD .. ':p', HEAD .. ':j') == 0 then call('HDEL', HEAD, 'w') end
return {0}";
    /// Puts items once there is room. The arguments after the kind are the call, whether it waits, and the object, or nothing if its
    /// session has used the object before. The items follow, unless the call was in the line before.
    PUT_LATER [CHECKED_QUEUE, LINES, PAGE, QUEUES] = r"
local me, waits, object = ARGV[2], ARGV[3], ARGV[4]
local session = session_of(me)
local function is_put() return call('HEXISTS', HEAD .. ':a', me) == 1 end
if is_put() then
  drop_answer(me)
  return {0}
end
if not end_of(session) then return lost(me, #ARGV == 4) end
local fault = refused(#ARGV - 4)
if fault then return fault end
local is_parked = call('HEXISTS', WAITS, me) == 1
if waits == '0' then return {-20} end
-- It has no items any more.
if not is_parked and #ARGV == 4 then return {-22} end
-- A call in the line needs no more memory.
if is_parked then freeing() else changed() end
if object ~= '' then note_consumer(session, object) end
if not is_parked then many('RPUSH', TAG .. 'i:' .. me, 5, #ARGV) end
wait_in(':p', me, 'p', now)
local till = serve_queue(HEAD)
if is_put() then
  drop_answer(me)
  return {0}
end
return {17, digits(math.max(0, till - now)), 1}";
    /// The arguments after the kind are the call, or nothing for one that nobody records, the most items, `task`, or nothing for one item,
    /// whether the call waits, and whether it asks for the first time.
    GET (GET_ONE) [CHECKED_QUEUE, LINES, PAGE, QUEUES] = r"
local waits, session = ARGV[4], session_of(me)
if me ~= '' and not end_of(session) then return {-22} end
freeing()
if me ~= '' then note_consumer(session, HEAD:match('%d+$')) end
local function mine()
  local items = me ~= '' and call('HGET', ORDER, me)
  if not items then return nil end
  drop_answer(me)
  return given(me, unpacked(items), max)
end
local found, till = mine(), now
if found then return found end
if call('EXISTS', DATA) == 0 or call('EXISTS', HEAD .. ':q') == 1 then
  till = serve_queue(HEAD)
  found = mine()
  if found then return found end
end
if call('EXISTS', DATA) == 1 and call('EXISTS', HEAD .. ':q') == 0 then
  local items = take(HEAD, me, max)
  if call('EXISTS', HEAD .. ':p') == 1 then serve_queue(HEAD) end
  return given(me, items, max)
end
if IS_CLOSED and (max ~= 'task' or unfinished(HEAD) == 0) then return {-26} end
if me == '' then return {-4} end
if waits == '0' then return {-20} end
return wait_in(':q', me, max, till)";
}

scripts! {
    @ CHECKED_QUEUE;
    LEN [LINES, PAGE, QUEUES] = r"
freeing()
serve_queue(HEAD)
return {2, call('LLEN', DATA)}";
    CAPACITY = "return {2, CAPACITY}";
    CLOSE [LINES, PAGE, QUEUES] = r"
freeing()
call('HSET', HEAD, 'x', 1)
answer_all(HEAD, ':p', '-26')
serve_queue(HEAD)
return {0}";
    IS_CLOSED = "return {1, IS_CLOSED and 1 or 0}";
}

fn on(script: &'static Script, keys: &Keys, object: ObjectId, kind: Kind) -> Command {
    Command::on(script, keys, object, kind)
}

/// Returns the script call of an operation that does not wait.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call.
pub(super) fn command(keys: &Keys, object: ObjectId, op: QueueOp<Raw<'_>>) -> Result<Command, CallError> {
    let kind = Kind::Queue;
    // Nobody records what these calls get.
    let get = |max: &str| on(&GET, keys, object, kind).bytes("").bytes(max).number(0).number(0);
    Ok(match op {
        QueueOp::Put(item) => put(keys, object, kind, &[item])?,
        QueueOp::PutMany(items) => put(keys, object, kind, &items)?,
        QueueOp::Get => get(""),
        QueueOp::GetMany(0) => return Err(Fault::OutOfRange { least: 1, most: u64::MAX }.into()),
        QueueOp::GetMany(max) => get(&max.to_string()),
        QueueOp::Len => len(keys, object, kind),
        QueueOp::Capacity => capacity(keys, object, kind),
        QueueOp::Close => close(keys, object, kind),
        QueueOp::IsClosed => is_closed(keys, object, kind),
    })
}

/// Puts items if there is room.
///
/// # Errors
/// [`Fault::TooMany`].
pub(super) fn put(
    keys: &Keys,
    object: ObjectId,
    kind: Kind,
    items: &[Raw<'_>],
) -> Result<Command, CallError> {
    check(items.len(), VALUES_AT_ONCE_MAX)?;
    Ok(with_items(on(&PUT, keys, object, kind), kind, items))
}

/// Adds items. A task was never delivered before.
fn with_items(command: Command, kind: Kind, items: &[Raw<'_>]) -> Command {
    let mark = if kind == Kind::JoinableQueue { &b"0:"[..] } else { b"" };
    items.iter().fold(command, |command, item| command.value_after(mark, *item))
}

pub(super) fn len(keys: &Keys, object: ObjectId, kind: Kind) -> Command {
    on(&LEN, keys, object, kind)
}

pub(super) fn capacity(keys: &Keys, object: ObjectId, kind: Kind) -> Command {
    on(&CAPACITY, keys, object, kind)
}

pub(super) fn close(keys: &Keys, object: ObjectId, kind: Kind) -> Command {
    on(&CLOSE, keys, object, kind)
}

pub(super) fn is_closed(keys: &Keys, object: ObjectId, kind: Kind) -> Command {
    on(&IS_CLOSED, keys, object, kind)
}

/// A call that belongs to a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) object: ObjectId,
    pub(super) kind: Kind,
    pub(super) call: &'a str,
    /// Whether the session has not used the object before.
    pub(super) is_new: bool,
    pub(super) ask: Ask,
}

/// Puts items once there is room.
pub(super) fn put_later(keys: &Keys, named: Named<'_>, items: &[Raw<'_>]) -> Command {
    let Named { object, kind, call, is_new, ask } = named;
    let put = on(&PUT_LATER, keys, object, kind).bytes(call).number(u8::from(ask.joins));
    let put = put.bytes(note(object, is_new));
    if ask.mark.is_some() { put } else { with_items(put, kind, items) }
}

/// Says that a call takes a task, in the place of the most items.
pub(super) const TASK: &str = "task";

/// Takes items once there are some: at most so many, or one.
pub(super) fn get(keys: &Keys, named: Named<'_>, max: &str) -> Command {
    let Named { object, kind, call, ask, .. } = named;
    let get = on(&GET, keys, object, kind).bytes(call).bytes(max).number(u8::from(ask.joins));
    get.number(u8::from(!ask.is_again))
}

/// Returns the command that removes the record of a call whose answer was read.
pub(super) fn was_read(keys: &Keys, object: ObjectId, call: &str, is_put: bool) -> redis::Cmd {
    let [head, _, given] = keys.of_object(object);
    let mut remove = redis::cmd("HDEL");
    remove.arg(if is_put { format!("{head}:a") } else { given }).arg(call);
    remove
}

#[cfg(test)]
mod tests {
    use super::QUEUES;
    use crate::limits::FAILED_TASKS_MAX;

    #[test]
    fn the_limit_of_failed_tasks_is_that_of_all_backends() {
        assert!(QUEUES.contains(&format!("> {FAILED_TASKS_MAX} then")));
    }
}
