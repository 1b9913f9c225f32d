//! Scripts that run inside Redis. Each operation is one script, so it is atomic. Some have a [plain](super::plain) command as well.
//!
//! A script answers with an array whose first item says what it is, as [`answer`](super::answer) lists. A refusal is data
//! as well: an error of a script would stop it in the middle.
//!
//! The first command that writes decides about a full memory: Redis refuses it if it needs memory, and otherwise lets the
//! rest of the script go on. So a script that adds something begins with a write that needs memory, and one that removes
//! something begins with a removal, if necessary of nothing.

use std::sync::LazyLock;

/// What all scripts begin with. The first key is the head of the object.
const START: &str = r"
local call, HEAD = redis.call, KEYS[1]
";

/// What follows. A list, a dict and a value name their data and the order of their entries; those of other objects are found here, since each
/// key of a call takes Redis time.
///
/// The head is a hash: `k` is the number of the kind, `p` the fingerprint of the type, `v` the number of changes, `n` the last place of
/// an entry. The `v` of a list is less by its length, and `changed` learns by how many items the list has grown.
const PRELUDE: &str = r"
local DATA, ORDER = KEYS[2] or HEAD .. ':d', KEYS[3] or HEAD .. ':z'
local function changed(grown) call('HINCRBY', HEAD, 'v', 1 - (grown or 0)) end
local function freeing() call('UNLINK', HEAD .. ':none') end
local function many(command, key, from, to)
  for at = from, to, 500 do call(command, key, unpack(ARGV, at, math.min(at + 499, to))) end
end
";

/// Checks that the object exists and has the kind that the first argument names. `version` is the number of changes, as text.
pub(super) const CHECKED: &str = r"
local head = call('HMGET', HEAD, 'k', 'v')
if head[1] ~= ARGV[1] then
  if head[1] then return {-2, tonumber(head[1])} end
  return {-1}
end
local version = head[2] or '0'
";

/// A script, which is compiled at its first use.
#[derive(Debug)]
pub(crate) struct Script {
    compiled: LazyLock<Compiled, fn() -> Compiled>,
}

/// The text of a script, and the name by which Redis knows it after it has seen the text.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) text: String,
    pub(super) hash: String,
}

impl Script {
    pub(super) const fn new(compile: fn() -> Compiled) -> Self {
        Self { compiled: LazyLock::new(compile) }
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.compiled
    }
}

/// Joins the parts of a script.
pub(super) fn compile(parts: &[&str]) -> Compiled {
    compile_after(&[], parts)
}

/// Joins the parts of a script whose [ordinary case](super::ordinary) needs nothing that all scripts begin with but the head.
pub(super) fn compile_after(ordinary: &[&str], parts: &[&str]) -> Compiled {
    compile_bare(&[&[START], ordinary, &[PRELUDE], parts].concat())
}

/// Joins the parts of a script that does not begin as others do.
pub(super) fn compile_bare(parts: &[&str]) -> Compiled {
    let text = parts.concat();
    let hash = redis::Script::new(&text).get_hash().to_owned();
    Compiled { text, hash }
}

/// Declares scripts of objects. They begin with their ordinary case, in parentheses, if they have one. Then they check the kind of the object,
/// by the named check or by [`CHECKED`], and may use the functions of the named parts.
macro_rules! scripts {
    (@ $checked:expr; $($(#[$doc:meta])* $name:ident $(($first:expr))? $([$($part:expr),+])? = $code:expr;)+) => {$(
        $(#[$doc])*
        static $name: crate::engine::redis::script::Script = crate::engine::redis::script::Script::new(|| {
            crate::engine::redis::script::compile_after(&[$($first)?], &[$checked, $($($part,)+)? $code])
        });
    )+};
    ($($(#[$doc:meta])* $name:ident $(($first:expr))? $([$($part:expr),+])? = $code:expr;)+) => {
        crate::engine::redis::script::scripts! {
            @ crate::engine::redis::script::CHECKED;
            $($(#[$doc])* $name $(($first))? $([$($part),+])? = $code;)+
        }
    };
}

pub(super) use scripts;
