//! The entries of the list of named objects.

use std::fmt;
use std::time::Duration;

use mp_sys::named::Listed;

use crate::kind;

/// An object that has a name, as [`list`](super::list) found it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedObject {
    /// The name.
    pub name: String,
    /// Its kind: `"Value"`, `"Lock"`, …; `"unknown"` for a kind that this build does not have.
    pub kind: &'static str,
    /// The name of its element type without modules, or `None` for an object without elements.
    pub element: Option<String>,
    /// The size of its file in /dev/shm in bytes, a multiple of the page size.
    pub bytes: u64,
    /// How long ago it was created, or `None` if its creator had another clock, in another time namespace.
    pub age: Option<Duration>,
    /// Whether the name stays without holders: see the `persist` method of each object.
    pub is_persistent: bool,
    /// The ids of the processes that hold it, in ascending order. The list is empty for a persistent object that nobody
    /// holds, and for an object that only a message on its way keeps. Processes that `/proc` hides from this one are missing,
    /// for example those of another PID namespace.
    pub holders: Vec<u32>,
}

impl NamedObject {
    pub(super) fn of(listed: Listed) -> Self {
        let Listed { name, kind, type_name, bytes, age, is_persistent, holders, .. } = listed;
        let element = (type_name != "()").then_some(type_name);
        Self { name, kind: kind::name_of(kind), element, bytes, age, is_persistent, holders }
    }
}

/// One line, whatever the name and the type contain, which are claims of the process that made it: `jobs: Value<u32>, 8192 bytes, made 2.5s ago, held by 4711 4712`.
impl fmt::Display for NamedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_debug(), self.kind)?;
        if let Some(element) = &self.element {
            write!(f, "<{}>", element.escape_debug())?;
        }
        write!(f, ", {} bytes", self.bytes)?;
        if let Some(age) = self.age {
            write!(f, ", made {age:.1?} ago")?;
        }
        if self.is_persistent {
            f.write_str(", persistent")?;
        }
        f.write_str(if self.holders.is_empty() { ", no holder found" } else { ", held by" })?;
        self.holders.iter().try_for_each(|pid| write!(f, " {pid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_object_is_one_line_whatever_it_claims() {
        let listed = NamedObject {
            name: "jobs\n2".to_owned(),
            kind: "Value",
            element: Some("u32\u{1b}[2J".to_owned()),
            bytes: 8192,
            age: Some(Duration::from_millis(2500)),
            is_persistent: true,
            holders: vec![4711, 4712],
        };
        let line = r"jobs\n2: Value<u32\u{1b}[2J>, 8192 bytes, made 2.5s ago, persistent, held by 4711 4712";
        assert_eq!(listed.to_string(), line);
        let plain = NamedObject { name: "jobs".to_owned(), element: None, age: None, ..listed };
        assert_eq!(plain.to_string(), "jobs: Value, 8192 bytes, persistent, held by 4711 4712");
    }
}
