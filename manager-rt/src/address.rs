//! The address of a manager: a URL, and what it names.
//!
//! | URL | what it names | module |
//! |---|---|---|
//! | `mp+unix:PATH` | a server that listens at a socket in the file system | `local` |

mod local;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mp_sys::line::Short;

pub use self::local::PATH_BYTES_MAX;
use self::local::SocketPath;

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
/// assert_eq!(address.path(), Some("/run/app/manager.sock".as_ref()));
/// assert!("redis://host".parse::<Address>().is_err());
/// # Ok::<(), manager_rt::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    endpoint: Endpoint,
}

/// What a URL can name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// The socket of a server on this host.
    Local(SocketPath),
}

impl Address {
    /// Makes the address of a socket in the file system.
    ///
    /// # Errors
    /// [`AddressError::Path`].
    pub fn local(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        Ok(Self { endpoint: Endpoint::Local(SocketPath::new(path.into())?) })
    }

    /// Returns the path of the socket, or `None` if the server is reached over a network.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::Local(path) => Some(path.as_path()),
        }
    }

    /// Returns what the address names.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            // As in other URLs, an empty host may stand before the path.
            Some((local::SCHEME, path)) => Self::local(path.strip_prefix("//").unwrap_or(path)),
            _ => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Local(path) => path.fmt(f),
        }
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
