//! `Event`: `s` in the head says that it is set, and `g` how often it was.

use super::command::{Command, Keys};
use super::line::{LINES, note};
use super::script::scripts;
use super::wait::Ask;
use crate::proto::{EventOp, Kind, ObjectId};

scripts! {
    /// The arguments after the kind are the call, whether it waits, the object, or nothing if its session has used the object
    /// before, and how often the event had been set when the call joined the line, or nothing.
    WAIT [LINES] = r"
local me, waits, object = ARGV[2], ARGV[3], ARGV[4]
local session = session_of(me)
if not end_of(session) then return {-22} end
freeing()
if object ~= '' then note(session, object) end
local count = call('HGET', HEAD, 'g') or '0'
-- The answer to this call may have been lost.
local was_set = ARGV[5] ~= '' and ARGV[5] ~= count
if was_set or call('HEXISTS', HEAD, 's') == 1 then return {0} end
if waits == '0' then return {-25} end
local parked = park(HEAD, me, '', now + 3600000000)
parked[3] = count
return parked";
    SET [LINES] = r"
freeing()
call('HSET', HEAD, 's', 1)
call('HINCRBY', HEAD, 'g', 1)
while true do
  local waiter = next_of(HEAD)
  if not waiter then return {0} end
  answer(waiter, '0')
end";
    CLEAR = "call('HDEL', HEAD, 's') return {0}";
    IS_SET = "return {1, call('HEXISTS', HEAD, 's')}";
}

pub(super) fn wait(keys: &Keys, object: ObjectId, call: &str, is_new: bool, ask: Ask) -> Command {
    let command = Command::on(&WAIT, keys, object, Kind::Event);
    let mark = ask.mark.map(|mark| mark.to_string()).unwrap_or_default();
    command.bytes(call).number(u8::from(ask.joins)).bytes(note(object, is_new)).bytes(mark)
}

/// Returns the script call of an operation that does not wait.
pub(super) fn command(keys: &Keys, object: ObjectId, op: &EventOp) -> Option<Command> {
    let script = match op {
        EventOp::Set => &SET,
        EventOp::Clear => &CLEAR,
        EventOp::IsSet => &IS_SET,
        EventOp::Wait => return None,
    };
    Some(Command::on(script, keys, object, Kind::Event))
}
