//! The program's constructors that come after this crate's own: they run before the function does.
//!
//! A constructor sets up what its crate needs (a registry, a logger). The C library runs the program's constructors in
//! the order in which they were linked, so this crate's may be anywhere among them. It takes over only after it has
//! called the others in the same way. The C library never reaches those, because the process ends in this crate's
//! constructor.
//!
//! Source: glibc `csu/libc-start.c` `call_init`; the ELF specification on `DT_INIT_ARRAY`.

use std::ffi::{c_char, c_int};
use std::{ptr, slice};

/// A constructor, as glibc calls it.
pub(super) type Constructor = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);

/// The arguments that the C library passed to this crate's constructor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments {
    pub(super) count: c_int,
    pub(super) arguments: *mut *mut c_char,
    pub(super) environment: *mut *mut c_char,
}

const DT_NULL: usize = 0;
const DT_INIT_ARRAY: usize = 25;
const DT_INIT_ARRAYSZ: usize = 27;

/// Where the constructors of the main program are, by offset, according to its dynamic section.
pub(super) fn place_in(dynamic: &[[usize; 2]]) -> Option<(usize, usize)> {
    let entries = || dynamic.iter().take_while(|[tag, _]| *tag != DT_NULL);
    let value = |wanted| entries().find(|[tag, _]| *tag == wanted).map(|[_, value]| *value);
    Some((value(DT_INIT_ARRAY)?, value(DT_INIT_ARRAYSZ)?.checked_div(size_of::<Constructor>())?))
}

/// Calls the constructors after `own` among the `count` at `address`; calls none if `own` is not among them.
///
/// # Safety
/// The C library is in the call of `own` with these arguments, as one of these constructors, and will not continue with
/// the next one.
pub(super) unsafe fn run_after(own: Constructor, (address, count): (usize, usize), given: Arguments) {
    let first = ptr::with_exposed_provenance::<Constructor>(address);
    if first.is_null() || !first.is_aligned() {
        return;
    }
    // SAFETY: the program's headers name this many constructors there. The loader has relocated them, and nothing
    // writes to them.
    let all = unsafe { slice::from_raw_parts(first, count) };
    let is_own = |other: &Constructor| ptr::fn_addr_eq(*other, own);
    let after = all.iter().position(is_own).and_then(|at| all.get(at..)).unwrap_or_default();
    for constructor in after.iter().skip(1) {
        // SAFETY: the C library would call it next, in this way.
        unsafe { constructor(given.count, given.arguments, given.environment) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_what_the_dynamic_section_says() {
        let word = size_of::<Constructor>();
        let section = [[1, 7], [DT_INIT_ARRAYSZ, 3 * word], [DT_INIT_ARRAY, 0x1000], [DT_NULL, 0], [25, 9]];
        assert_eq!(place_in(&section), Some((0x1000, 3)));
        assert_eq!(place_in(&section[..2]), None);
        assert_eq!(place_in(&section[3..]), None, "what follows the end means nothing");
        assert_eq!(place_in(&[]), None);
    }
}
