//! `Value` and `Array`.
//!
//! A value is a string of Redis. An array is a HASH from indices to elements: a LIST would take time in proportion to the
//! index, and a string needs elements of one length.

use super::command::{Command, Keys, check};
use super::numbers::{ADD, with_number};
use super::page::PAGE;
use super::script::scripts;
use crate::backend::CallError;
use crate::limits::VALUES_AT_ONCE_MAX;
use crate::proto::{ArrayOp, Kind, ObjectId, Raw, ValueOp};

/// Finds an element. `at` is the index that the second argument names, `len` the number of elements.
const ELEMENTS: &str = r"
local at, len = tonumber(ARGV[2]), call('HLEN', DATA)
local function missing() return {-3, len, ARGV[2]} end
";

/// Checks that the object is a value. `found` is what it is.
const VALUED: &str = r"
local found = call('GET', DATA)
if not found then
  local kind = call('HGET', HEAD, 'k')
  if kind and kind ~= ARGV[1] then return {-2, tonumber(kind)} end
  return {-1}
end
";

scripts! {
    @ VALUED;
    GET = "return {4, found}";
    SET = "call('SET', DATA, ARGV[2]) return {4, found}";
    STORE = "call('SET', DATA, ARGV[2]) return {0}";
    COMPARE_EXCHANGE = r"
if found ~= ARGV[2] then return {6, found} end
call('SET', DATA, ARGV[3])
return {1, 1}";
    FETCH_ADD [ADD] = r"
local sum = add(found, ARGV[2], tonumber(ARGV[3]), ARGV[4])
if not sum then return {-6} end
call('SET', DATA, sum)
return {7, found}";
}

scripts! {
    LEN_OF = "return {2, call('HLEN', DATA)}";
    GET_AT [ELEMENTS] = "if at >= len then return missing() end return {4, call('HGET', DATA, at)}";
    SET_AT [ELEMENTS] = r"
if at >= len then return missing() end
local old = call('HGET', DATA, at)
changed() call('HSET', DATA, at, ARGV[3])
return {4, old}";
    STORE_AT [ELEMENTS] = r"
if at >= len then return missing() end
changed() call('HSET', DATA, at, ARGV[3])
return {0}";
    COMPARE_EXCHANGE_AT [ELEMENTS] = r"
if at >= len then return missing() end
local found = call('HGET', DATA, at)
if found ~= ARGV[3] then return {6, found} end
changed() call('HSET', DATA, at, ARGV[4])
return {1, 1}";
    FETCH_ADD_AT [ELEMENTS, ADD] = r"
if at >= len then return missing() end
local before = call('HGET', DATA, at)
local sum = add(before, ARGV[3], tonumber(ARGV[4]), ARGV[5])
if not sum then return {-6} end
changed() call('HSET', DATA, at, sum)
return {7, before}";
    READ [ELEMENTS, PAGE] = r"
if at > len then return missing() end
local function read(from, count)
  local out = {}
  for index = from, math.min(from + count, len) - 1 do out[#out + 1] = call('HGET', DATA, index) end
  return out
end
return page({8, version}, at, tonumber(ARGV[3]), 1, read)";
    WRITE [ELEMENTS] = r"
local count = #ARGV - 2
if at + count > len then
  if at > len then return missing() end
  return {-3, len, len}
end
changed()
for i = 1, count do call('HSET', DATA, at + i - 1, ARGV[i + 2]) end
return {0}";
}

/// Returns the script call of an operation of a value.
pub(super) fn command(keys: &Keys, object: ObjectId, op: ValueOp<Raw<'_>>) -> Command {
    let on = |script| Command::on(script, keys, object, Kind::Value);
    match op {
        ValueOp::Get => on(&GET),
        ValueOp::Set(new) => on(&SET).value(new),
        ValueOp::Store(new) => on(&STORE).value(new),
        ValueOp::CompareExchange { expected, new } => on(&COMPARE_EXCHANGE).value(expected).value(new),
        ValueOp::FetchAdd(number) => with_number(on(&FETCH_ADD), number),
    }
}

/// Returns the script call of an operation of an array.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call.
pub(super) fn array(keys: &Keys, object: ObjectId, op: ArrayOp<Raw<'_>>) -> Result<Command, CallError> {
    let on = |script| Command::on(script, keys, object, Kind::Array);
    Ok(match op {
        ArrayOp::Len => on(&LEN_OF),
        ArrayOp::Get(at) => on(&GET_AT).number(at),
        ArrayOp::Set(at, new) => on(&SET_AT).number(at).value(new),
        ArrayOp::Store(at, new) => on(&STORE_AT).number(at).value(new),
        ArrayOp::Read { at, max } => on(&READ).number(at).number(max),
        ArrayOp::Write { at, elements } => {
            check(elements.len(), VALUES_AT_ONCE_MAX)?;
            on(&WRITE).number(at).values(elements)
        }
        ArrayOp::CompareExchange { at, expected, new } => {
            on(&COMPARE_EXCHANGE_AT).number(at).value(expected).value(new)
        }
        ArrayOp::FetchAdd(at, number) => with_number(on(&FETCH_ADD_AT).number(at), number),
    })
}
