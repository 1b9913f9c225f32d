//! `Dict`: a HASH of Redis, and a sorted set that keeps the order in which the keys were first set.
//!
//! No stored key is empty. The HASH has an entry with an empty key as long as the dict exists, so that a plain command tells an empty dict from none.

use super::command::{Command, Keys, check};
use super::numbers::{ADD, with_number};
use super::page::PAGE;
use super::script::{Script, compile_bare, scripts};
use crate::backend::CallError;
use crate::limits::ENTRIES_AT_ONCE_MAX;
use crate::proto::{DictOp, Kind, ObjectId, Part, Raw};

/// Sets and removes entries. A new key goes to the end of the order.
const ENTRIES: &str = r"
local function set(key, value)
  if call('HSET', DATA, key, value) == 1 then call('ZADD', ORDER, call('HINCRBY', HEAD, 'n', 1), key) end
end
local function remove(key)
  if call('HDEL', DATA, key) == 0 then return 0 end
  call('ZREM', ORDER, key)
  return 1
end
";

scripts! {
    GET = "local value = call('HGET', DATA, ARGV[2]) if value then return {5, value} end return {5}";
    INSERT [ENTRIES] = r"
local old = call('HGET', DATA, ARGV[2])
set(ARGV[2], ARGV[3])
if old then return {5, old} end
return {5}";
    INSERT_NEW [ENTRIES] = r"
local found = call('HGET', DATA, ARGV[2])
if found then return {6, found} end
set(ARGV[2], ARGV[3])
return {1, 1}";
    CLAIM [ENTRIES] = r"
if call('HEXISTS', DATA, ARGV[2]) == 1 then return {-7} end
set(ARGV[2], ARGV[3])
return {0}";
    REMOVE [ENTRIES] = r"
local old = call('HGET', DATA, ARGV[2])
if not old then return {5} end
remove(ARGV[2])
return {5, old}";
    DELETE [ENTRIES] = "return {1, remove(ARGV[2])}";
    CONTAINS = "return {1, call('HEXISTS', DATA, ARGV[2])}";
    GET_OR_INSERT [ENTRIES] = r"
local found = call('HGET', DATA, ARGV[2])
if found then return {4, found} end
set(ARGV[2], ARGV[3])
return {4, ARGV[3]}";
    POP_ITEM [ENTRIES] = r"
local key = call('ZREVRANGE', ORDER, 0, 0)[1]
if not key then return {9} end
local value = call('HGET', DATA, key)
remove(key)
return {9, key, value}";
    EXTEND [ENTRIES] = "for i = 2, #ARGV, 2 do set(ARGV[i], ARGV[i + 1]) end return {0}";
    LEN = "return {2, call('HLEN', DATA) - 1}";
    CLEAR = "call('UNLINK', DATA, ORDER) call('HSET', DATA, '', 1) return {0}";
    FETCH_ADD [ENTRIES, ADD] = r"
local before = call('HGET', DATA, ARGV[2]) or zero(ARGV[3], tonumber(ARGV[4]))
local sum = add(before, ARGV[3], tonumber(ARGV[4]), ARGV[5])
if not sum then return {-6} end
set(ARGV[2], sum)
return {7, before}";
    /// All sums are made before the first is stored. A key that comes twice continues with its sum.
    FETCH_ADD_MANY [ENTRIES, ADD] = r"
local sums = {}
for i = 2, #ARGV, 4 do
  local key, bits = ARGV[i], tonumber(ARGV[i + 2])
  local before = sums[key] or call('HGET', DATA, key) or zero(ARGV[i + 1], bits)
  local sum = add(before, ARGV[i + 1], bits, ARGV[i + 3])
  if not sum then return {-6} end
  sums[key] = sum
end
for i = 2, #ARGV, 4 do set(ARGV[i], sums[ARGV[i]]) end
return {0}";
    COMPARE_EXCHANGE [ENTRIES] = r"
local found = call('HGET', DATA, ARGV[2])
if found ~= (ARGV[3] ~= '' and ARGV[3]) then
  if found then return {6, found} end
  return {6}
end
if ARGV[4] ~= '' then set(ARGV[2], ARGV[4]) else remove(ARGV[2]) end
return {1, 1}";
    /// `size` tells which part of an entry is read: keys (`k`), values (`v`), or both (`i`).
    PAGE_OF [PAGE] = r"
local after, part = ARGV[2], ARGV[4]
local places, last, taken = {}, after ~= '-' and after or '0', 0
local function read(_, count)
  local from = #places > 0 and '(' .. places[#places] or after ~= '-' and '(' .. after or '-inf'
  local found = call('ZRANGEBYSCORE', ORDER, from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  local out = {}
  for i = 1, #found, 2 do
    places[#places + 1] = found[i + 1]
    if part ~= 'v' then out[#out + 1] = found[i] end
    if part ~= 'k' then out[#out + 1] = call('HGET', DATA, found[i]) end
  end
  return out
end
local size = part == 'i' and 2 or 1
local out = page({part == 'i' and 10 or 8, 0}, 0, tonumber(ARGV[3]), size, read)
local count = (#out - 2) / size
out[2] = count > 0 and places[count] or last
return out";
}

/// Only a new key has a place in the order, and needs a look at the head: where there is another key, there is a dict.
static STORE: Script = Script::new(|| {
    compile_bare(&[r"
if redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local call, HEAD = redis.call, KEYS[1]:sub(1, -3)
local kind = call('HGET', HEAD, 'k')
if kind ~= '2' then
  call('UNLINK', KEYS[1])
  return kind and {-2, tonumber(kind)} or -1
end
call('ZADD', HEAD .. ':z', call('HINCRBY', HEAD, 'n', 1), ARGV[1])
return 0"])
});

/// Returns the script call of an operation.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call.
pub(super) fn command(keys: &Keys, object: ObjectId, op: DictOp<Raw<'_>>) -> Result<Command, CallError> {
    let on = |script| Command::on(script, keys, object, Kind::Dict);
    let entry = |script, key, value| on(script).value(key).value(value);
    Ok(match op {
        DictOp::Get(key) => on(&GET).value(key),
        DictOp::Insert(key, value) => entry(&INSERT, key, value),
        DictOp::InsertNew(key, value) => entry(&INSERT_NEW, key, value),
        DictOp::Claim(key, value) => entry(&CLAIM, key, value),
        DictOp::Store(key, value) => {
            Command::on_data(&STORE, keys, object, Kind::Dict).value(key).value(value)
        }
        DictOp::Remove(key) => on(&REMOVE).value(key),
        DictOp::Delete(key) => on(&DELETE).value(key),
        DictOp::Contains(key) => on(&CONTAINS).value(key),
        DictOp::GetOrInsert(key, value) => entry(&GET_OR_INSERT, key, value),
        DictOp::PopItem => on(&POP_ITEM),
        DictOp::Extend(entries) => {
            check(entries.len(), ENTRIES_AT_ONCE_MAX)?;
            on(&EXTEND).entries(entries)
        }
        DictOp::Len => on(&LEN),
        DictOp::Clear => on(&CLEAR),
        DictOp::FetchAdd(key, number) => with_number(on(&FETCH_ADD).value(key), number),
        DictOp::FetchAddMany(numbers) => {
            check(numbers.len(), ENTRIES_AT_ONCE_MAX)?;
            let add = |command: Command, (key, number)| with_number(command.value(key), number);
            numbers.into_iter().fold(on(&FETCH_ADD_MANY), add)
        }
        DictOp::CompareExchange { key, expected, new } => {
            let exchange = on(&COMPARE_EXCHANGE).value(key);
            // No stored value is empty.
            [expected, new].into_iter().fold(exchange, |command, value| match value {
                Some(value) => command.value(value),
                None => command.bytes(""),
            })
        }
        DictOp::Page { after, max, part } => {
            let after = after.map_or_else(|| "-".to_owned(), |place| place.to_string());
            let part = match part {
                Part::Keys => "k",
                Part::Values => "v",
                Part::Items => "i",
            };
            on(&PAGE_OF).bytes(after).number(max).bytes(part)
        }
    })
}
