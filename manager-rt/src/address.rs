//! The address of a manager: a socket in the file system, written as `mp+unix:PATH`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mp_sys::line::Short;

/// The longest path of a socket, in bytes: the kernel's address has room for no more.
pub const PATH_BYTES_MAX: usize = 107;
const SCHEME: &str = "mp+unix:";

/// Why a text or path is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// This build does not know the scheme.
    #[error("an address must begin with `mp+unix:`, but this one does not: {0}")]
    Scheme(String),
    /// The path is relative, empty, or longer than a socket's path may be.
    #[error("the path of a socket must be absolute and have at most {PATH_BYTES_MAX} bytes: {}", .0.display())]
    Path(PathBuf),
}

/// The address of a manager.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Address;
///
/// let address: Address = "mp+unix:/run/app/manager.sock".parse()?;
/// assert_eq!(address.path(), "/run/app/manager.sock");
/// assert!("redis://host".parse::<Address>().is_err());
/// # Ok::<(), manager_rt::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    path: PathBuf,
}

impl Address {
    /// Makes the address of a socket in the file system.
    ///
    /// # Errors
    /// [`AddressError::Path`].
    pub fn local(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        let path = path.into();
        let len = path.as_os_str().len();
        if !path.is_absolute() || len > PATH_BYTES_MAX {
            return Err(AddressError::Path(path));
        }
        Ok(Self { path })
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let path = text.strip_prefix(SCHEME).ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        Self::local(path)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.path.display())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", Short(&format_args!("{self}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_at_the_limit_and_one_above() {
        let path = |len| format!("/{}", "x".repeat(len - 1));
        assert!(Address::local(path(PATH_BYTES_MAX)).is_ok());
        let long = path(PATH_BYTES_MAX + 1);
        assert_eq!(Address::local(&long), Err(AddressError::Path(long.into())));
        assert!(Address::local("relative").is_err());
        let address = Address::local("/a b").unwrap();
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}
