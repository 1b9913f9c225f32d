//! Addition to encoded numbers, inside scripts.
//!
//! Lua has no integers beyond 2^53, so integers are added digit by digit. A stored integer is a varint: seven bits in each
//! byte, the lowest first, and for signed ones the sign in the lowest bit. Its digits become the two's complement of the
//! number, to which the other one is added. The other one is sent in that form.

use super::command::Command;
use crate::proto::Number;

/// `add` returns a stored number plus another one, or `nil` if the stored value is not a number of that type. `zero` is the stored 0.
pub(super) const ADD: &str = r"
local function zero(kind, bits)
  if kind == 'f' then return string.rep('\0', bits / 8 + 1) end
  return '\0\0'
end
local function invert(digits, count, top)
  for i = 1, count do digits[i] = 127 - digits[i] end
  digits[count] = digits[count] % top
end
local function digits_of(stored, count, top)
  local len, digits = #stored - 1, {}
  if len < 1 or len > count then return nil end
  for i = 1, len do
    local byte = stored:byte(i + 1)
    if (byte >= 128) == (i == len) then return nil end
    digits[i] = byte % 128
  end
  for i = len + 1, count do digits[i] = 0 end
  if digits[count] >= top then return nil end
  return digits
end
local function from_zigzag(digits, count, top)
  local negative = digits[1] % 2 == 1
  for i = 1, count do digits[i] = math.floor(digits[i] / 2) + ((digits[i + 1] or 0) % 2) * 64 end
  if negative then invert(digits, count, top) end
end
local function to_zigzag(digits, count, top)
  local negative, carry = digits[count] >= top / 2, 0
  for i = 1, count do
    local digit = digits[i] * 2 + carry
    carry, digits[i] = math.floor(digit / 128), digit % 128
  end
  digits[count] = digits[count] % top
  if negative then invert(digits, count, top) end
end
local function encoded(digits, count)
  while count > 1 and digits[count] == 0 do count = count - 1 end
  for i = 1, count - 1 do digits[i] = digits[i] + 128 end
  return '\0' .. string.char(unpack(digits, 1, count))
end
local function add(stored, kind, bits, other)
  if stored:byte(1) ~= 0 then return nil end
  if kind == 'f' then
    if #stored ~= bits / 8 + 1 then return nil end
    local form = bits == 32 and '<f' or '<d'
    return '\0' .. struct.pack(form, struct.unpack(form, stored, 2) + struct.unpack(form, other))
  end
  if bits == 8 then
    if #stored ~= 2 then return nil end
    return '\0' .. string.char((stored:byte(2) + other:byte(1)) % 256)
  end
  local count = math.ceil(bits / 7)
  local top = 2 ^ (bits - 7 * (count - 1))
  local digits = digits_of(stored, count, top)
  if not digits then return nil end
  if kind == 'i' then from_zigzag(digits, count, top) end
  local carry = 0
  for i = 1, count do
    local digit = digits[i] + other:byte(i) + carry
    carry, digits[i] = math.floor(digit / 128), digit % 128
  end
  digits[count] = digits[count] % top
  if kind == 'i' then to_zigzag(digits, count, top) end
  return encoded(digits, count)
end
";

/// Adds the three arguments of a number: its kind, its bits, and itself.
pub(super) fn with_number(command: Command, number: Number) -> Command {
    let unsigned = |bits, number: u128| ("u", bits, digits(number, bits));
    let signed = |bits, number: i128| ("i", bits, digits(number.cast_unsigned(), bits));
    let (kind, bits, number) = match number {
        Number::U8(n) => ("u", 8, vec![n]),
        Number::I8(n) => ("i", 8, vec![n.cast_unsigned()]),
        Number::U16(n) => unsigned(16, n.into()),
        Number::U32(n) => unsigned(32, n.into()),
        Number::U64(n) => unsigned(64, n.into()),
        Number::U128(n) => unsigned(128, n),
        Number::I16(n) => signed(16, n.into()),
        Number::I32(n) => signed(32, n.into()),
        Number::I64(n) => signed(64, n.into()),
        Number::I128(n) => signed(128, n),
        Number::F32(n) => ("f", 32, n.to_le_bytes().to_vec()),
        Number::F64(n) => ("f", 64, n.to_le_bytes().to_vec()),
    };
    command.bytes(kind).number(bits).bytes(number)
}

/// Returns the digits of a two's complement, seven bits each, the lowest first.
fn digits(number: u128, bits: u32) -> Vec<u8> {
    (0..bits.div_ceil(7))
        .map(|digit| {
            let left = bits.saturating_sub(digit.saturating_mul(7)).min(7);
            let shifted = number.checked_shr(digit.saturating_mul(7)).unwrap_or(0);
            let mask = 0x7f_u8.checked_shr(7_u32.saturating_sub(left)).unwrap_or(0);
            shifted.to_le_bytes().first().copied().unwrap_or(0) & mask
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_twos_complement() {
        assert_eq!(digits(300, 16), [44, 2, 0]);
        assert_eq!(digits((-1_i128).cast_unsigned(), 16), [127, 127, 3]);
        assert_eq!(digits(u128::MAX, 64), [127, 127, 127, 127, 127, 127, 127, 127, 127, 1]);
        assert_eq!(digits(u128::MAX, 128).len(), 19);
    }
}
