//! `List`: a LIST of Redis.
//!
//! Its elements are found from the nearer end, so an operation in the middle takes time in proportion to the length.

use super::command::{Command, Keys, check};
use super::page::PAGE;
use super::script::scripts;
use crate::backend::CallError;
use crate::limits::{ORDER_ITEMS_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::{Kind, ListOp, ObjectId, Raw, Scan};

/// Checks that the object is a list. `len` is the number of its items, and `version` the number of changes, as text. A plain push only makes the
/// list longer, so the head counts changes less the items.
const LISTED: &str = r"
local head = call('HMGET', HEAD, 'k', 'v')
if head[1] ~= ARGV[1] then
  if head[1] then return {-2, tonumber(head[1])} end
  return {-1}
end
local len = call('LLEN', DATA)
local version = string.format('%.0f', (head[2] or 0) + len)
";

/// Finds an item. `at` is the index that the second argument names.
const INDEXED: &str = r"
local at = tonumber(ARGV[2])
local function missing() return {-3, len, ARGV[2]} end
";

/// Removes the item at an index. The mark takes the item's place first: no stored value begins with its byte.
const REMOVES: &str = r"
local MARK = '\255'
local function remove(at, len)
  freeing()
  if at == 0 then call('LPOP', DATA)
  elseif at == len - 1 then call('RPOP', DATA)
  else
    call('LSET', DATA, at, MARK)
    call('LREM', DATA, at < len / 2 and 1 or -1, MARK)
  end
  changed(-1)
end
";

/// Searches a part of the list: at most about 16,384 items and 4 MiB.
const SEARCH: &str = r"
local value, at, expected = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if expected ~= '-' and expected ~= version then return {-5} end
local left, bytes = 16384, 4194304
local function search(found)
  while at < len do
    if left <= 0 or bytes <= 0 then return at end
    local part = call('LRANGE', DATA, at, at + 63)
    for i, item in ipairs(part) do
      if item == value and found(at + i - 1) then return -1 end
      bytes = bytes - #item
    end
    at, left = at + #part, left - #part
  end
  return -1
end
";

scripts! {
    @ LISTED;
    PUSH = "call('RPUSH', DATA, ARGV[2]) return {0}";
    EXTEND = "changed(#ARGV - 1) many('RPUSH', DATA, 2, #ARGV) return {0}";
    GET [INDEXED] = "if at >= len then return missing() end return {4, call('LINDEX', DATA, at)}";
    SET [INDEXED] = r"
if at >= len then return missing() end
local old = call('LINDEX', DATA, at)
changed() call('LSET', DATA, at, ARGV[3])
return {4, old}";
    STORE [INDEXED] = r"
if at >= len then return missing() end
changed() call('LSET', DATA, at, ARGV[3])
return {0}";
    INSERT [INDEXED] = r"
if at > len then return missing() end
if at == len then call('RPUSH', DATA, ARGV[3])
elseif at == 0 then call('LPUSH', DATA, ARGV[3])
else
  local old, mark = call('LINDEX', DATA, at), '\255'
  call('LSET', DATA, at, mark)
  call('LINSERT', DATA, 'BEFORE', mark, ARGV[3])
  call('LSET', DATA, at + 1, old)
end
return {0}";
    REMOVE [INDEXED, REMOVES] = r"
if at >= len then return missing() end
local old = call('LINDEX', DATA, at)
remove(at, len)
return {4, old}";
    DELETE [INDEXED, REMOVES] = "if at >= len then return missing() end remove(at, len) return {0}";
    POP = r"
local last = call('RPOP', DATA)
if not last then return {-4} end
changed(-1)
return {4, last}";
    REMOVE_VALUE [SEARCH, REMOVES] = r"
local found = -1
local next = search(function(index) found = index return true end)
if found >= 0 then
  remove(found, len)
  version = string.format('%.0f', version + 1)
end
return {13, found, next, version}";
    INDEX_OF [SEARCH] = r"
local found = -1
local next = search(function(index) found = index return true end)
return {13, found, next, version}";
    COUNT [SEARCH] = r"
local count = 0
local next = search(function() count = count + 1 return false end)
return {13, count, next, version}";
    LEN = "return {3, len, tonumber(version)}";
    CLEAR = "freeing() call('UNLINK', DATA) changed(-len) return {0}";
    REVERSE = r"
local items = call('LRANGE', DATA, 0, -1)
changed()
call('UNLINK', DATA)
for _, item in ipairs(items) do call('LPUSH', DATA, item) end
return {0}";
    SWAP = r"
local one, other = tonumber(ARGV[2]), tonumber(ARGV[3])
if one >= len then return {-3, len, ARGV[2]} end
if other >= len then return {-3, len, ARGV[3]} end
local first, second = call('LINDEX', DATA, one), call('LINDEX', DATA, other)
changed()
call('LSET', DATA, one, second)
call('LSET', DATA, other, first)
return {0}";
    PAGE_OF [PAGE] = r"
local function read(at, count) return call('LRANGE', DATA, at, at + count - 1) end
return page({8, version}, tonumber(ARGV[2]), tonumber(ARGV[3]), 1, read)";
    COMPARE_EXCHANGE [INDEXED] = r"
if at >= len then return missing() end
local found = call('LINDEX', DATA, at)
if found ~= ARGV[3] then return {6, found} end
changed() call('LSET', DATA, at, ARGV[4])
return {1, 1}";
    REORDER = r"
if ARGV[2] ~= version then return {-5} end
local items, seen = call('LRANGE', DATA, 0, -1), {}
if #items ~= #ARGV - 2 then return {-11} end
for i = 3, #ARGV do
  local at = tonumber(ARGV[i]) + 1
  if seen[at] or not items[at] then return {-11} end
  seen[at] = true
end
changed()
call('UNLINK', DATA)
for i = 3, #ARGV do call('RPUSH', DATA, items[tonumber(ARGV[i]) + 1]) end
return {0}";
    /// The keys of the other list follow those of this one.
    GATHER = r"
local from = call('HMGET', KEYS[4], 'k', 'v')
if not from[1] then return {-1} end
if from[1] ~= ARGV[1] then return {-2, tonumber(from[1])} end
if string.format('%.0f', (from[2] or 0) + call('LLEN', KEYS[5])) ~= ARGV[2] then return {-5} end
local items = {}
for i = 3, #ARGV do
  local item = call('LINDEX', KEYS[5], ARGV[i])
  if not item then return {-11} end
  items[#items + 1] = item
end
changed(#items)
for _, item in ipairs(items) do call('RPUSH', DATA, item) end
return {0}";
    EXCHANGE = r"
local with = call('HMGET', KEYS[4], 'k', 'v')
if not with[1] then return {-1} end
if with[1] ~= ARGV[1] then return {-2, tonumber(with[1])} end
if version ~= ARGV[2] then return {-5} end
if HEAD == KEYS[4] then return {-11} end
local grown = call('LLEN', KEYS[5]) - len
changed(grown)
call('HINCRBY', KEYS[4], 'v', 1 + grown)
local here, there = call('EXISTS', DATA) == 1, call('EXISTS', KEYS[5]) == 1
if here then call('RENAME', DATA, ORDER) end
if there then call('RENAME', KEYS[5], DATA) end
if here then call('RENAME', ORDER, KEYS[5]) end
return {0}";
}

/// Returns the script call of an operation.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call.
pub(super) fn command(keys: &Keys, object: ObjectId, op: ListOp<Raw<'_>>) -> Result<Command, CallError> {
    let on = |script| Command::on(script, keys, object, Kind::List);
    let search = |script, scan: Scan<Raw<'_>>| {
        let version = scan.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        on(script).value(scan.value).number(scan.from).bytes(version)
    };
    Ok(match op {
        ListOp::Push(item) => on(&PUSH).value(item),
        ListOp::Extend(items) => {
            check(items.len(), VALUES_AT_ONCE_MAX)?;
            on(&EXTEND).values(items)
        }
        ListOp::Get(at) => on(&GET).number(at),
        ListOp::Set(at, item) => on(&SET).number(at).value(item),
        ListOp::Store(at, item) => on(&STORE).number(at).value(item),
        ListOp::Insert(at, item) => on(&INSERT).number(at).value(item),
        ListOp::Remove(at) => on(&REMOVE).number(at),
        ListOp::Delete(at) => on(&DELETE).number(at),
        ListOp::Pop => on(&POP),
        ListOp::RemoveValue(scan) => search(&REMOVE_VALUE, scan),
        ListOp::IndexOf(scan) => search(&INDEX_OF, scan),
        ListOp::Count(scan) => search(&COUNT, scan),
        ListOp::Len => on(&LEN),
        ListOp::Clear => on(&CLEAR),
        ListOp::Reverse => on(&REVERSE),
        ListOp::Swap(one, other) => on(&SWAP).number(one).number(other),
        ListOp::Page { at, max } => on(&PAGE_OF).number(at).number(max),
        ListOp::CompareExchange { at, expected, new } => {
            on(&COMPARE_EXCHANGE).number(at).value(expected).value(new)
        }
        ListOp::Reorder { version, order } => {
            check(order.len(), ORDER_ITEMS_MAX)?;
            order.into_iter().fold(on(&REORDER).number(version), Command::number)
        }
        ListOp::Gather { from, version, order } => {
            check(order.len(), ORDER_ITEMS_MAX)?;
            let gather = on(&GATHER).and(keys, from, Kind::List).number(version);
            order.into_iter().fold(gather, Command::number)
        }
        ListOp::Exchange { with, version } => on(&EXCHANGE).and(keys, with, Kind::List).number(version),
    })
}
