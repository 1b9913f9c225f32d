//! The ordinary case of calls that take something: nobody else has it or waits for it.
//!
//! The script of such a call begins with its ordinary case, and ends there with as few commands as that needs. Otherwise it has
//! changed nothing, and goes on with what all cases need. Redis makes the functions in the rest of a script only when it comes to them.
//!
//! The ordinary case does not ask when the session ends, since Redis takes long to write that as text. It asks whether the session has
//! noted the object. If so, whoever ends the session frees what it is given now, even if its time is over already. The head says so of the
//! session that noted the object last: that is `n`, until the session ends.
//!
//! `w` in the head says that the case is not ordinary: a call may wait, the lock has a lease, or its holder is told something.

/// Grants a lock without a lease. A full memory refuses the write, and then the rest of the script begins with a removal.
///
/// The holder is in a field whose name contains its token, so a plain command releases the lock: it removes that field. Only the holder knows the
/// token. If the field is gone, somebody waits, or the lock was lost, and a script finds out.
pub(super) const ACQUIRE_FREE: &str = r"
local me, thread, waits, begun = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = call('HMGET', HEAD, 'k', 'o', 't', 'w', 'n')
local KIND, session, last = found[1], me:sub(1, 16), found[3]
if (KIND == '6' or KIND == '7') and not ARGV[5] and not found[2] and not found[4]
    and not (last and call('HEXISTS', HEAD, ':' .. last) == 1)
    and (found[5] == session or call('SISMEMBER', HEAD:match('^[^}]*}:') .. 's:' .. session, HEAD:match('%d+$')) == 1) then
  local token = begun
  -- Texts of one length are in the order of their numbers, and writing a number takes as long as a command.
  if last and (#last > #begun or #last == #begun and last >= begun) then
    local digit = last:byte(-1)
    token = digit < 57 and last:sub(1, -2) .. string.char(digit + 1) or string.format('%.0f', last + 1)
  end
  if type(redis.pcall('HSET', HEAD, ':' .. token, me, 'h', thread, 't', token)) == 'number' then return token end
end
";

/// Frees a lock without a lease. If the time of its session is over, but nobody has noticed that yet, the session still had the lock.
pub(super) const RELEASE_OWN: &str = r"
local found = call('HMGET', HEAD, 't', 'o', 'w')
if found[1] == ARGV[2] and found[2] and not found[3] and found[2]:sub(1, 16) == ARGV[1] then
  call('HDEL', HEAD, 'o')
  return 0
end
";

/// Puts one item into a queue that has room.
pub(super) const PUT_ONE: &str = r"
local found = call('HMGET', HEAD, 'k', 'c', 'x', 'w')
local most = found[2]
if found[1] == ARGV[1] and not found[3] and #ARGV == 2
    and (not found[4] or call('EXISTS', HEAD .. ':q', most == '0' and HEAD .. ':q' or HEAD .. ':p') == 0)
    and (most == '0' or call('LLEN', HEAD .. ':d') < tonumber(most)) then
  call('RPUSH', HEAD .. ':d', ARGV[2])
  return 0
end
";

/// Gives one item to a call that asks for the first time. Where items are, nobody waits for one. The answer is the item as it was in the
/// queue: the number of the lease of a task is that of the call.
pub(super) const GET_ONE: &str = r"
local me, max = ARGV[2], ARGV[3]
if ARGV[5] == '1' and (max == '' or max == 'task') then
  local found, session = call('HMGET', HEAD, 'k', 'c', 'w', 'n'), me:sub(1, 16)
  if found[1] == ARGV[1] and (not found[3] or found[2] == '0' or call('EXISTS', HEAD .. ':p') == 0)
      and (found[4] == session or call('SISMEMBER', HEAD .. ':s', session) == 1) then
    -- This is a removal, so a full memory does not refuse what follows.
    local item = call('LPOP', HEAD .. ':d')
    if item then
      call('HSET', HEAD .. ':z', me, item)
      return item
    end
  end
end
";

/// Removes a task that is done, if nobody waits for the end of all tasks. As with locks, its session still had it.
pub(super) const DONE_ONE: &str = r"
local found = call('HMGET', HEAD, 'k', 'x', 'w')
if found[1] == ARGV[1] and not found[2] and (not found[3] or call('EXISTS', HEAD .. ':j') == 0)
    and call('HDEL', HEAD .. ':z', ARGV[2]) == 1 then
  return 0
end
";
