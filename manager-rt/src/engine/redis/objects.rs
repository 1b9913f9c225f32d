//! Operations of the manager itself: objects and names.
//!
//! | key | what it holds |
//! |---|---|
//! | `objects` | the numbers of all objects |
//! | `names` | from names to numbers |
//! | `sorted` | the names in order |
//! | `epoch` | a random number that identifies this life of the namespace |
//!
//! The numbers of objects are random. If Redis has lost what it had not written to its disk, an old number leads to
//! nothing, and never to an object that was made later.

use std::sync::LazyLock;

use super::answer::number_of;
use super::command::{Command, Keys, check, check_name, hex};
use super::line::LINES;
use super::report;
use super::script::{Compiled, Script, compile};
use crate::OsError;
use crate::backend::CallError;
use crate::limits::{CAPACITY_MAX, PARTIES_MAX, PERMITS_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::{Fault, Kind, ManagerOp, Raw, Spec};

/// Makes an object, whose keys are made here. The arguments are the name, the kind, the fingerprint of its type, what the
/// names of heads begin with, the number of a new object, and what the object contains.
const MAKES: &str = r"
local NAMES, SORTED, OBJECTS = KEYS[1], KEYS[2], KEYS[3]
local name, kind, print, prefix, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local function known()
  local found = name ~= '' and call('HGET', NAMES, name)
  if not found then return nil end
  local head = call('HMGET', prefix .. found, 'k', 'p')
  if not head[1] then return nil end
  if head[1] ~= kind then return {-2, tonumber(head[1])} end
  if head[2] ~= print then return {-9} end
  return {11, found, 0}
end
local function make()
  call('HSET', prefix .. id, 'k', kind, 'p', print)
  call('SADD', OBJECTS, id)
  if name ~= '' then
    call('HSET', NAMES, name, id)
    call('ZADD', SORTED, 0, name)
  end
end
";

static OPEN: Script = Script::new(|| {
    compile(&[
        MAKES,
        r"
local found = known()
if found then return found end
make()
local data = prefix .. id .. ':d'
if ARGV[6] == 'value' then call('SET', prefix .. id .. ':v', ARGV[7]) end
-- The mark by which a plain command finds out that a dict exists.
if ARGV[6] == 'dict' then call('HSET', prefix .. id .. ':h', '', 1) end
if ARGV[6] == 'array' then
  for i = 7, #ARGV do call('HSET', data, i - 7, ARGV[i]) end
end
if ARGV[6] == 'limit' then
  call('HSET', prefix .. id, 'c', ARGV[7])
  if ARGV[8] then call('HSET', prefix .. id, 'm', ARGV[8]) end
end
if ARGV[6] == 'semaphore' then
  call('HSET', prefix .. id, 'f', ARGV[7])
  if ARGV[8] ~= '' then call('HSET', prefix .. id, 'b', ARGV[8]) end
end
return {11, id, 1}",
    ])
});

/// The keys of the list follow.
static OPEN_ARRAY_OF: Script = Script::new(|| {
    compile(&[
        MAKES,
        r"
local found = known()
if found then return found end
local list = call('HGET', KEYS[4], 'k')
if not list then return {-1} end
if list ~= ARGV[6] then return {-2, tonumber(list)} end
local len = call('LLEN', KEYS[5])
if len > tonumber(ARGV[7]) then return {-10, tonumber(ARGV[7])} end
make()
local data = prefix .. id .. ':d'
for at = 0, len - 1, 500 do
  for i, item in ipairs(call('LRANGE', KEYS[5], at, at + 499)) do call('HSET', data, at + i - 1, item) end
end
call('UNLINK', KEYS[5])
call('HINCRBY', KEYS[4], 'v', 1 + len)
return {11, id, 1}",
    ])
});

static REMOVE: Script = Script::new(|| {
    compile(&[
        LINES,
        r"
local id = call('HGET', KEYS[1], ARGV[1])
if not id then return {-12} end
local head = ARGV[2] .. id
freeing()
for _, tail in ipairs(TAILS) do
  for _, waiter in ipairs(call('LRANGE', head .. tail, 0, -1)) do
    wants_of(waiter)
    answer(waiter, '-1')
  end
  call('UNLINK', head .. tail)
end
for _, part in ipairs({'', ':d', ':h', ':l', ':v', ':z', ':s', ':a', ':f', ':w'}) do call('UNLINK', head .. part) end
call('HDEL', KEYS[1], ARGV[1])
call('ZREM', KEYS[2], ARGV[1])
call('SREM', KEYS[3], id)
return {0}",
    ])
});

static NAMES_AFTER: Script = Script::new(|| {
    compile(&[r"
local from = ARGV[1] ~= '' and '(' .. ARGV[1] or '-'
local out, bytes = {12}, 0
for _, name in ipairs(call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, 4096)) do
  bytes = bytes + #name + 32
  if bytes > 262144 then break end
  out[#out + 1] = name
end
return out"])
});

static INFO: Script = Script::new(|| {
    compile(&[
        LINES,
        "return {14, call('SCARD', KEYS[3]), call('HLEN', WAITS), call('ZCOUNT', SESSIONS, '(' .. digits(now), '+inf')}",
    ])
});

static ATTACH: Script = Script::new(|| {
    compile(&[r"
for i = 1, #ARGV, 500 do
  for j = i, math.min(i + 499, #ARGV) do
    if call('SISMEMBER', KEYS[3], ARGV[j]) == 0 then return {-1} end
  end
end
return {0}"])
});

/// Returns the epoch, after setting it to this one if there was none.
pub(super) static EPOCH: LazyLock<Compiled> = LazyLock::new(|| {
    compile(&[r"
call('SET', KEYS[1], ARGV[1], 'NX')
return call('GET', KEYS[1])"])
});

fn on(script: &'static Script, keys: &Keys) -> Command {
    Command::with(script, keys, &["names", "sorted", "objects"])
}

/// Returns the script call of an operation, or `None` if nothing has to be done.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call; [`CallError::Unsupported`].
pub(super) fn command(
    keys: &Keys,
    backend: &'static str,
    op: ManagerOp<Raw<'_>>,
) -> Result<Option<Command>, CallError> {
    let unsupported = |what| Err(CallError::Unsupported { kind: Kind::Manager, what, backend });
    Ok(Some(match op {
        ManagerOp::Create { spec, print } => open(keys, "", spec, print)?,
        ManagerOp::Open { name, spec, print } => {
            check_name(&name)?;
            open(keys, &name, spec, print)?
        }
        ManagerOp::Remove { name } => on(&REMOVE, keys).bytes(name).bytes(keys.objects()),
        ManagerOp::NamesAfter { name } => on(&NAMES_AFTER, keys).bytes(name),
        ManagerOp::Info => on(&INFO, keys),
        ManagerOp::Attach(objects) => {
            objects.into_iter().fold(on(&ATTACH, keys), |command, object| command.number(object.0))
        }
        ManagerOp::Object { name } => report::object(keys, &name),
        ManagerOp::Objects { from, is_busy } => report::objects(keys, from, is_busy),
        // Nobody counts references.
        ManagerOp::Detach { .. } | ManagerOp::Transit(_) | ManagerOp::Bequeath { .. } => return Ok(None),
        ManagerOp::Names => return unsupported("all names at once"),
        ManagerOp::Shutdown => return unsupported("ending the server"),
        ManagerOp::Snapshot { .. } => return unsupported("snapshots"),
        ManagerOp::Succeed { .. } => return unsupported("sessions of connections"),
        ManagerOp::Server | ManagerOp::Clients { .. } | ManagerOp::Waits { .. } => {
            return unsupported("reports");
        }
    }))
}

/// Returns the number of a new object. Two objects have the same one once in 10^19 pairs.
fn fresh_number() -> Result<u64, CallError> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(OsError::from)?;
    // 0 is the manager.
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// Checks the number of something that a new object may have.
fn within(number: u64, least: u64, most: u64) -> Result<u64, Fault> {
    if (least..=most).contains(&number) { Ok(number) } else { Err(Fault::OutOfRange { least, most }) }
}

fn open(keys: &Keys, name: &str, spec: Spec<Raw<'_>>, print: u64) -> Result<Command, CallError> {
    let kind = number_of(spec.kind());
    let number = fresh_number()?;
    let begin = |script| {
        let begin = on(script, keys).bytes(name).number(kind).bytes(hex(print));
        begin.bytes(keys.objects()).number(number)
    };
    Ok(match spec {
        Spec::Value(value) => begin(&OPEN).bytes("value").value(value),
        Spec::Array(values) => {
            check(values.len(), VALUES_AT_ONCE_MAX)?;
            begin(&OPEN).bytes("array").values(values)
        }
        Spec::ArrayOf(list) => begin(&OPEN_ARRAY_OF)
            .and(keys, list, Kind::List)
            .number(number_of(Kind::List))
            .number(crate::limits::ARRAY_ELEMENTS_MAX),
        Spec::Dict => begin(&OPEN).bytes("dict"),
        Spec::List | Spec::Namespace | Spec::Lock | Spec::RLock | Spec::Condition | Spec::Event => {
            begin(&OPEN).bytes("")
        }
        Spec::Semaphore(permits) | Spec::BoundedSemaphore(permits) => {
            within(permits, 0, PERMITS_MAX)?;
            let bound =
                if spec.kind() == Kind::BoundedSemaphore { permits.to_string() } else { String::new() };
            begin(&OPEN).bytes("semaphore").number(permits).bytes(bound)
        }
        Spec::Queue(capacity) => begin(&OPEN).bytes("limit").number(within(capacity, 0, CAPACITY_MAX)?),
        Spec::JoinableQueue { maxsize, max_deliveries } => {
            let most = within(max_deliveries.into(), 1, u32::MAX.into())?;
            begin(&OPEN).bytes("limit").number(within(maxsize, 0, CAPACITY_MAX)?).number(most)
        }
        Spec::Barrier(parties) => begin(&OPEN).bytes("limit").number(within(parties, 1, PARTIES_MAX)?),
    })
}
