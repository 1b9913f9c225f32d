//! [`Kept`]: the file in which a server keeps its objects.

use std::path::PathBuf;

use mp_sys::OsError;
use rustix::io::Errno;

use crate::server::save::{Claim, Target};

/// A file in which a server keeps its objects.
#[derive(Debug)]
pub(in crate::server) struct Kept {
    pub(in crate::server) path: PathBuf,
    /// `None` as long as the folder is missing.
    pub(in crate::server) claim: Option<Claim>,
}

impl Kept {
    pub(super) fn is_in(&self, target: &Target) -> bool {
        match &self.claim {
            Some(claim) => claim.target() == target,
            None => Target::at(&self.path).is_ok_and(|own| own == *target),
        }
    }

    /// Takes the right, unless the server has it.
    ///
    /// # Errors
    /// As for [`Claim::take`]; `EEXIST` for a file that came after the start: the server has never read it.
    pub(super) fn claim(&mut self) -> Result<&Claim, OsError> {
        match &mut self.claim {
            Some(claim) => Ok(claim),
            none => {
                let claim = Claim::take(Target::at(&self.path)?)?;
                if claim.target().exists()? { Err(Errno::EXIST.into()) } else { Ok(none.insert(claim)) }
            }
        }
    }
}
