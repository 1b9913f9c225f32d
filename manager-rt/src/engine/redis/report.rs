//! What Redis knows about objects. It does not count references, and knows no clients.

use super::command::{Command, Keys};
use super::line::LINES;
use super::script::{Script, compile};

/// How many objects a page has, about.
const PAGE: u32 = 256;

/// Describes objects. `KEYS` 1 to 3 are `names`, `sorted` and `objects`, and the first argument is what the names of heads begin with.
const DESCRIBES: &str = r"
local NAMES, OBJECTS, prefix = KEYS[1], KEYS[3], ARGV[1]
local function bytes_of(head)
  local bytes = 0
  for _, part in ipairs({'', ':a', ':d', ':h', ':j', ':l', ':p', ':q', ':s', ':v', ':z'}) do
    local used = redis.pcall('MEMORY', 'USAGE', head .. part)
    if type(used) == 'number' then bytes = bytes + used end
  end
  return bytes
end
local function describe(id, name, is_busy, out)
  local head = prefix .. id
  local found = call('HMGET', head, 'k', 'p', 'f', 'o', 't')
  local kind, len, held, data = found[1], -1, 0, head .. ':d'
  if not kind then return end
  if kind == '1' then len = call('LLEN', head .. ':l') end
  if kind == '2' then len = call('HLEN', head .. ':h') - 1 end
  if kind == '3' or kind == '5' then len = call('HLEN', data) end
  if kind == '12' or kind == '13' then len = call('LLEN', data) end
  local holder = found[4] or found[5] and call('HGET', head, ':' .. found[5])
  if (kind == '6' or kind == '7') and holder and end_of(session_of(holder)) then held = 1 end
  if kind == '8' or kind == '9' then len, held = tonumber(found[3]), call('HLEN', data) end
  local waiters = 0
  for _, tail in ipairs(TAILS) do waiters = waiters + call('LLEN', head .. tail) end
  if is_busy and held == 0 and waiters == 0 then return end
  for _, part in ipairs({id, kind, found[2], name or '', len, bytes_of(head), waiters, held}) do out[#out + 1] = part end
end
";

static ONE: Script = Script::new(|| {
    let one = r"
local id, out = call('HGET', NAMES, ARGV[2]), {40, 0}
if id then describe(id, ARGV[2], false, out) end
if not out[3] then return {-12} end
return out";
    compile(&[LINES, DESCRIBES, one])
});

/// The arguments after the first are the place, about how many objects to return, and whether only busy ones are wanted.
static SOME: Script = Script::new(|| {
    let some = r"
local found, named = call('SSCAN', OBJECTS, ARGV[2], 'COUNT', ARGV[3]), {}
local names = call('HGETALL', NAMES)
for at = 1, #names, 2 do named[names[at + 1]] = names[at] end
local out = {40, found[1]}
for _, id in ipairs(found[2]) do describe(id, named[id], ARGV[4] == '1', out) end
return out";
    compile(&[LINES, DESCRIBES, some])
});

fn on(script: &'static Script, keys: &Keys) -> Command {
    Command::with(script, keys, &["names", "sorted", "objects"]).bytes(keys.objects())
}

/// Describes the object with a name.
pub(super) fn object(keys: &Keys, name: &str) -> Command {
    on(&ONE, keys).bytes(name)
}

/// Describes a page of objects. Redis counts its places with the bits in reverse, so only their reverse grows from page to page. An object that exists all the time may be on two pages, if others are made or removed meanwhile.
pub(super) fn objects(keys: &Keys, from: u64, is_busy: bool) -> Command {
    on(&SOME, keys).number(from.reverse_bits()).number(PAGE).number(u8::from(is_busy))
}
