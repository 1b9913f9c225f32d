//! What a transaction does instead of the commands that write, so that it can undo them.
//!
//! Redis undoes nothing that a script has done. So the scripts of a transaction get another `redis.call`, which notes before each change how to
//! undo it. What it notes is again a command: for fields, members and items those that had another value, for a key that is removed its way back
//! from another name. So the notes take as much memory as the changes, and not as the objects.

/// Notes how to undo each change. The first key is the beginning of the names of keys that were removed.
///
/// `call` and `undo` are the two functions, and `keep` makes the changes final.
pub(super) const UNDO: &str = r"
local real = redis.call
local notes, removed = {}, 0
local function note(...) notes[#notes + 1] = {...} end
local function note_field(key, field)
  local old = real('HGET', key, field)
  if old then note('HSET', key, field, old) else note('HDEL', key, field) end
end
local function note_member(key, member)
  local old = real('ZSCORE', key, member)
  if old then note('ZADD', key, old, member) else note('ZREM', key, member) end
end
-- Marks the place of an item. No stored value begins like this, and no script uses it.
local PLACE = '\254'
-- A command that fails, as with a full memory, has changed nothing. So what would then undo something else is noted after it.
local writes = {}
function writes.HSET(key, ...)
  for at = 1, select('#', ...), 2 do note_field(key, (select(at, ...))) end
  return real('HSET', key, ...)
end
function writes.HDEL(key, ...)
  for at = 1, select('#', ...) do note_field(key, (select(at, ...))) end
  return real('HDEL', key, ...)
end
function writes.HINCRBY(key, field, by)
  note_field(key, field)
  return real('HINCRBY', key, field, by)
end
function writes.SET(key, value)
  local old = real('GET', key)
  if old then note('SET', key, old) else note('UNLINK', key) end
  return real('SET', key, value)
end
function writes.RPUSH(key, ...)
  local len = real('RPUSH', key, ...)
  note('RPOP', key, select('#', ...))
  return len
end
function writes.LPUSH(key, ...)
  local len = real('LPUSH', key, ...)
  note('LPOP', key, select('#', ...))
  return len
end
function writes.LPOP(key)
  local item = real('LPOP', key)
  if item then note('LPUSH', key, item) end
  return item
end
function writes.RPOP(key)
  local item = real('RPOP', key)
  if item then note('RPUSH', key, item) end
  return item
end
function writes.LSET(key, at, value)
  note('LSET', key, at, real('LINDEX', key, at))
  return real('LSET', key, at, value)
end
-- The item before which another one is put is the only one of its kind, as is one that is removed by its value.
function writes.LINSERT(key, where, pivot, value)
  local at = real('LPOS', key, pivot)
  local len = real('LINSERT', key, where, pivot, value)
  note('LREM', key, 1, PLACE)
  note('LSET', key, at, PLACE)
  return len
end
function writes.LREM(key, count, value)
  local at = real('LPOS', key, value)
  local behind = at and real('LINDEX', key, at + 1)
  local count = real('LREM', key, count, value)
  if behind then
    note('LSET', key, at + 1, behind)
    note('LINSERT', key, 'BEFORE', PLACE, value)
    note('LSET', key, at, PLACE)
  elseif at then note('RPUSH', key, value) end
  return count
end
function writes.LTRIM(key, from, to)
  local items = real('LRANGE', key, 0, from - 1)
  local done = real('LTRIM', key, from, to)
  for _, item in ipairs(items) do note('LPUSH', key, item) end
  return done
end
function writes.LMOVE(from, to, one, other)
  local item = real('LMOVE', from, to, one, other)
  if item then note('LMOVE', to, from, other, one) end
  return item
end
function writes.UNLINK(...)
  for at = 1, select('#', ...) do
    local key = select(at, ...)
    if real('EXISTS', key) == 1 then
      removed = removed + 1
      local name = KEYS[1] .. removed
      real('RENAME', key, name)
      note('RENAME', name, key)
    else real('UNLINK', key) end
  end
end
function writes.ZADD(key, score, member)
  note_member(key, member)
  return real('ZADD', key, score, member)
end
function writes.ZREM(key, member)
  note_member(key, member)
  return real('ZREM', key, member)
end
function writes.ZPOPMIN(key)
  local least = real('ZPOPMIN', key)
  if least[1] then note('ZADD', key, least[2], least[1]) end
  return least
end
function writes.ZREMRANGEBYSCORE(key, from, to)
  local found = real('ZRANGEBYSCORE', key, from, to, 'WITHSCORES')
  for at = 1, #found, 2 do note('ZADD', key, found[at + 1], found[at]) end
  return real('ZREMRANGEBYSCORE', key, from, to)
end
function writes.SADD(key, member)
  local added = real('SADD', key, member)
  if added == 1 then note('SREM', key, member) end
  return added
end
function writes.SREM(key, member)
  local was = real('SREM', key, member)
  if was == 1 then note('SADD', key, member) end
  return was
end
local function call(command, ...)
  local write = writes[command]
  if write then return write(...) end
  return real(command, ...)
end
local function undo()
  for at = #notes, 1, -1 do real(unpack(notes[at])) end
end
local function keep()
  for at = 1, removed do real('UNLINK', KEYS[1] .. at) end
end
";

/// The commands of scripts that need no undoing: they read, or concern only answers that nobody reads.
#[cfg(test)]
#[cfg(test)]
const HARMLESS: &[&str] = &[
    "EXISTS",
    "GET",
    "HEXISTS",
    "HGET",
    "HKEYS",
    "HLEN",
    "HMGET",
    "LINDEX",
    "LLEN",
    "LRANGE",
    "PEXPIRE",
    "SISMEMBER",
    "SMEMBERS",
    "TIME",
    "ZCARD",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZREVRANGE",
    "ZSCORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_an_operation_can_be_undone() {
        // These belong to operations that are no part of a transaction: the exchange of two lists, and the end of a session.
        const OTHERS: [&str; 3] = ["RENAME", "SPOP", "SCARD"];
        for text in [
            include_str!("dict.rs"),
            include_str!("event.rs"),
            include_str!("joinable_queue.rs"),
            include_str!("line.rs"),
            include_str!("list.rs"),
            include_str!("namespace.rs"),
            include_str!("ordinary.rs"),
            include_str!("page.rs"),
            include_str!("queue.rs"),
            include_str!("value.rs"),
        ] {
            let commands = text.split("call('").skip(1).filter_map(|rest| rest.split('\'').next());
            for command in commands.filter(|command| !OTHERS.contains(command)) {
                let is_write = UNDO.contains(&format!("function writes.{command}("));
                assert!(is_write || HARMLESS.contains(&command), "{command}");
            }
        }
    }
}
