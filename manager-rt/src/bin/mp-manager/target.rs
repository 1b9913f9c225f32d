//! Connecting to a manager.

use manager_rt::{Address, ConnectError, Fault, Manager, ReachError};

use crate::args::Target;
use crate::failure::Failure;
use crate::keys;
use crate::output;

/// A connection to a manager, and its address for messages.
pub(crate) struct Connection {
    pub(crate) manager: Manager,
    address: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn open(target: &Target) -> Result<Self, Failure> {
        let address = shown(target)?;
        Self::try_open(target)?.map_err(|error| refused(target, &address, &error))
    }

    /// Connects, unless the server is ending: then, it returns its address.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn open_unless_ending(target: &Target) -> Result<Result<Self, String>, Failure> {
        let address = shown(target)?;
        match Self::try_open(target)? {
            Err(error) if is_ending(&error) => Ok(Err(address)),
            opened => opened.map(Ok).map_err(|error| refused(target, &address, &error)),
        }
    }

    /// Connects, and returns what the library says if that fails.
    ///
    /// # Errors
    /// [`Failure`] for wrong arguments.
    pub(crate) fn try_open(target: &Target) -> Result<Result<Self, ReachError>, Failure> {
        let address = shown(target)?;
        let mut builder = Manager::builder();
        if let Some(file) = &target.key_file {
            builder = builder.key(keys::read(file)?);
        }
        let connected = builder.connect(&target.address);
        for warning in connected.iter().flat_map(Manager::warnings) {
            output::note(&format!("{address}: {warning}"));
        }
        Ok(connected.map(|manager| Self { manager, address }))
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the name of an object as messages show it.
    pub(crate) fn object(&self, name: &str) -> String {
        format!("{name:?} at {}", self.address)
    }
}

/// Returns the address as messages show it, without a password.
fn shown(target: &Target) -> Result<String, Failure> {
    let address = target.address.parse::<Address>();
    Ok(address.map_err(|error| Failure::Usage(error.to_string()))?.to_string())
}

/// Returns `true` if the server at the address saves its objects for the last time.
pub(crate) const fn is_ending(error: &ReachError) -> bool {
    matches!(error, ReachError::Connect { error: ConnectError::Refused(Fault::Ending), .. })
}

/// Says why a manager cannot be reached, and what to do.
fn refused(target: &Target, address: &str, error: &ReachError) -> Failure {
    let reason = match error {
        // The outer error repeats that the manager cannot be reached.
        ReachError::Connect { error, .. } => format!("{error}{}", advice(target, error)),
        error => error.to_string(),
    };
    Failure::Unreachable(format!("cannot reach {address}: {reason}"))
}

fn advice(target: &Target, error: &ConnectError) -> &'static str {
    let has_key = target.key_file.is_some();
    match error {
        ConnectError::NotFound => "; start one with `mp-manager serve`, or give another --address",
        ConnectError::Unauthorised if has_key => ": is --key-file that of the server?",
        ConnectError::Unauthorised => ": give --key-file",
        ConnectError::Rejected => ": is --key-file that of the server, and --address that of its port?",
        ConnectError::KeyTooShort { .. } if has_key => ": make a longer one with `mp-manager keygen`",
        ConnectError::KeyTooShort { .. } => ": give --key-file",
        ConnectError::Refused(Fault::Ending) => "; `mp-manager shutdown` waits for its end",
        ConnectError::Refused(_) => ": raise the limit of `mp-manager serve --clients`",
        _ => "",
    }
}
