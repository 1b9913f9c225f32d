//! `Namespace`: a HASH of Redis from names to types and values, and a sorted set that keeps their order.

use super::command::{Command, Keys, check_name, hex};
use super::script::scripts;
use crate::backend::CallError;
use crate::limits::ATTRIBUTES_MAX;
use crate::proto::{Fault, Kind, NamespaceOp, ObjectId, Raw};

scripts! {
    GET = r"
local found = call('HGET', DATA, ARGV[2])
if not found then return {-8} end
if found:sub(1, 16) ~= ARGV[3] then return {-9} end
return {4, found:sub(17)}";
    SET = r"
if call('HLEN', DATA) >= tonumber(ARGV[4]) and call('HEXISTS', DATA, ARGV[2]) == 0 then
  return {-10, tonumber(ARGV[4])}
end
if call('HSET', DATA, ARGV[2], ARGV[3]) == 1 then
  call('ZADD', ORDER, call('HINCRBY', HEAD, 'n', 1), ARGV[2])
end
return {0}";
    DELETE = r"
if call('HDEL', DATA, ARGV[2]) == 0 then return {-8} end
call('ZREM', ORDER, ARGV[2])
return {0}";
    NAMES = r"
local out = call('ZRANGE', ORDER, 0, -1)
table.insert(out, 1, 12)
return out";
}

/// Returns the script call of an operation.
///
/// # Errors
/// [`CallError::Fault`] if the operation is refused without a call.
pub(super) fn command(keys: &Keys, object: ObjectId, op: NamespaceOp<Raw<'_>>) -> Result<Command, CallError> {
    let on = |script| Command::on(script, keys, object, Kind::Namespace);
    Ok(match op {
        NamespaceOp::Get { name, print } => on(&GET).bytes(checked(name)?).bytes(hex(print)),
        NamespaceOp::Set { name, print, value } => {
            let attribute = on(&SET).bytes(checked(name)?).value_after(hex(print).as_bytes(), value);
            attribute.number(ATTRIBUTES_MAX)
        }
        NamespaceOp::Delete { name } => on(&DELETE).bytes(checked(name)?),
        NamespaceOp::Names => on(&NAMES),
    })
}

fn checked(name: String) -> Result<String, Fault> {
    check_name(&name)?;
    if name.starts_with('_') { Err(Fault::Unsupported) } else { Ok(name) }
}
