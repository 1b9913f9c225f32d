//! Pages of long objects, inside scripts.

/// Appends items to an answer until a page is full. `read` returns the items from a place on, at most a number of them;
/// `size` is how many items make one entry. A page has at most [`PAGE_ITEMS_MAX`](crate::limits::PAGE_ITEMS_MAX) entries
/// and about [`PAGE_BYTES`](crate::limits::PAGE_BYTES), but at least one entry.
///
/// It reads few items first, since one of them may have 64 MiB, and then as many as probably fit.
pub(super) const PAGE: &str = r"
local function page(out, at, max, size, read)
  local head, bytes, step = #out, 0, 1
  max = math.min(max, 4096)
  while max > 0 do
    local part = read(at, math.min(step, max))
    if #part == 0 then return out end
    for i = 1, #part, size do
      local entry = 0
      for j = i, i + size - 1 do entry = entry + #part[j] end
      if bytes + entry > 262144 and #out > head then return out end
      bytes = bytes + entry
      for j = i, i + size - 1 do out[#out + 1] = part[j] end
      max = max - 1
    end
    local count = #part / size
    at = at + count
    local fit = math.floor((262144 - bytes) * (#out - head) / size / math.max(bytes, 1)) + 1
    step = math.max(1, math.min(step * 8, fit, 512))
  end
  return out
end
";

#[cfg(test)]
mod tests {
    use super::PAGE;
    use crate::limits::{PAGE_BYTES, PAGE_ITEMS_MAX};

    #[test]
    fn the_limits_are_those_of_all_backends() {
        assert!(PAGE.contains(&format!("bytes + entry > {PAGE_BYTES} ")));
        assert!(PAGE.contains(&format!("math.min(max, {PAGE_ITEMS_MAX})")));
    }
}
