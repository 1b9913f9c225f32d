//! `rm`: removes an object by its name.

use crate::args::Rm;
use crate::failure::Failure;
use crate::target::Connection;

pub(crate) fn run(options: &Rm) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let removed = connection.manager.remove(&options.name);
    removed.map_err(|error| Failure::of_call(&connection.object(&options.name), &error))
}
