//! What an object is, in a form that processes that meet in shared memory can compare.
//!
//! Three things decide how the bytes of an object are used, and only one of them is hashed. Its *class* is what it
//! consists of: a lock, plain elements, words that wake. Its *kind* is what the tier calls it. Both are numbers, and
//! stand beside the data unhashed. So nobody can choose names of types such that plain elements count as a lock, whose
//! words the library trusts. The *print* is a hash of the element type. Two types with one print would have the same
//! size only by accident, and any bits are values of either. So a wrong print costs wrong values and no more.

use sha2::{Digest, Sha256};

/// What a tier calls an object: a number for each kind, not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(u8);

impl Kind {
    /// Makes the kind with this number.
    ///
    /// # Panics
    /// For 0.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        assert!(number != 0, "0 is no kind");
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// An object's kind and element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What {
    /// Compared unhashed.
    pub kind: Kind,
    /// A [`fingerprint`] of the element type.
    pub print: u64,
}

impl What {
    /// Class and kind in one number below 2^16, and not 0.
    pub(crate) fn class_and_kind(self, class: u8) -> u64 {
        u64::from(class) << 8 | u64::from(self.kind.0)
    }
}

/// A hash of what a type is: a word for its usage, its size and alignment, and its name without module paths.
///
/// It is the first 8 bytes of SHA-256: it is the same in every build, and two names do not have one hash by chance.
#[must_use]
pub fn fingerprint(usage: &str, size: usize, align: usize, type_name: &str) -> u64 {
    let bare = bare_name(type_name);
    first_word(format!("{usage}|{size}|{align}|{bare}").as_bytes())
}

/// The name of a type without the modules in it.
pub(super) fn bare_name(type_name: &str) -> String {
    // A path segment is followed by "::"; what follows the last one of each path is the name.
    type_name
        .split_inclusive(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .map(last_segment)
        .collect()
}

/// The first 8 bytes of the hash of `bytes`.
pub(crate) fn first_word(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    let (word, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*word)
}

fn last_segment(path: &str) -> &str {
    path.rsplit_once("::").map_or(path, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_forget_module_paths_and_nothing_else() {
        let of = |name| fingerprint("element", 8, 4, name);
        assert_eq!(of("my::module::Point"), of("other::Point"));
        assert_eq!(of("[a::Point; 3]"), of("[b::c::Point; 3]"));
        assert_eq!(of("a::Pair<b::X, c::Y>"), of("Pair<X, Y>"));
        assert_ne!(of("a::Point"), of("a::Pixel"));
        assert_ne!(of("[a::Point; 3]"), of("[a::Point; 4]"));
        assert_ne!(fingerprint("element", 8, 4, "u64"), fingerprint("message", 8, 4, "u64"));
        assert_ne!(fingerprint("element", 8, 4, "u64"), fingerprint("element", 8, 8, "u64"));
    }

    /// Other builds compare with it: it never changes without the layout's version.
    #[test]
    fn the_fingerprint_of_a_type_is_the_same_in_every_build() {
        // printf 'element|8|8|u64' | sha256sum
        let golden = [0x9d, 0xee, 0x96, 0xee, 0x77, 0xc8, 0xf3, 0x19];
        assert_eq!(fingerprint("element", 8, 8, "u64").to_le_bytes(), golden);
    }

    #[test]
    fn class_and_kind_are_told_apart() {
        let what = |kind| What { kind: Kind::new(kind), print: 0 };
        let all = [what(1).class_and_kind(2), what(2).class_and_kind(1), what(1).class_and_kind(1)];
        assert_eq!(all, [0x201, 0x102, 0x101]);
        assert_eq!(what(u8::MAX).class_and_kind(u8::MAX), 0xffff);
    }
}
