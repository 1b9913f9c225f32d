//! Namespaces: programs that use one server of another maker see the objects of their own namespace only.

/// The parameter that names the namespace.
pub(super) const NAMESPACE: &str = "ns";
/// The namespace of a URL that names none.
pub(super) const NAMESPACE_DEFAULT: &str = "mp";
/// The longest name of a namespace, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 64;

/// Returns `true` if a namespace may have this name. The engines separate it from what follows by other characters than these.
pub(super) fn is_namespace(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=NAMESPACE_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}
