//! Objects by name, and operations on them.
//!
//! A proxy of the library needs the type of an object at compile time. Here it is known only at run time, if at all, so the
//! operations are written as they are sent.

use manager_rt::CallError;
use manager_rt::Fault;
use manager_rt::proto::{Call, Kind, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, Wait};

use crate::failure::Failure;
use crate::target::Connection;
use crate::types::{Type, Types};

/// The thread of this process that calls. It holds nothing.
pub(crate) const THREAD: u64 = 1;

/// An object.
pub(crate) struct Object<'c> {
    connection: &'c Connection,
    id: ObjectId,
    pub(crate) kind: Kind,
    /// What it holds, if that is a type that can be named.
    pub(crate) types: Option<Types>,
    /// Its name and the address, for messages.
    pub(crate) what: String,
}

impl<'c> Object<'c> {
    /// Finds an object. Its type is the one that the user named, or the one that its fingerprint tells.
    ///
    /// # Errors
    /// [`Failure::Absent`] if there is none; [`Failure::Failed`] if it has another type than the named one.
    pub(crate) fn find(
        connection: &'c Connection,
        name: &str,
        named: Option<&Type>,
    ) -> Result<Self, Failure> {
        Self::try_find(connection, name, named)?
            .ok_or_else(|| Failure::of_call(&connection.object(name), &CallError::Fault(Fault::UnknownName)))
    }

    /// Does the same, and returns `None` if there is no object with this name.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn try_find(
        connection: &'c Connection,
        name: &str,
        named: Option<&Type>,
    ) -> Result<Option<Self>, Failure> {
        let what = connection.object(name);
        let report = match connection.manager.object(name) {
            Ok(report) => report,
            Err(CallError::Fault(Fault::UnknownName)) => return Ok(None),
            Err(error) => return Err(Failure::of_call(&what, &error)),
        };
        let (id, kind) = (report.id, report.kind);
        let types = match named.filter(|_| has_type(kind)) {
            None => Types::find(kind, report.print),
            Some(named) => Some(checked(&what, kind, named, report.print)?),
        };
        Ok(Some(Self { connection, id, kind, types, what }))
    }

    /// Makes an object with these types, if there is none with this name.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn make(
        connection: &'c Connection,
        name: &str,
        spec: Spec<Raw<'_>>,
        types: Types,
    ) -> Result<Self, Failure> {
        let (kind, what) = (spec.kind(), connection.object(name));
        let op = ManagerOp::Open { name: name.to_owned(), spec, print: types.print(kind) };
        match call(connection, ObjectId::MANAGER, Op::Manager(op)) {
            Ok(Reply::Object { id, .. }) => Ok(Self { connection, id, kind, types: Some(types), what }),
            Ok(_) => Err(Failure::of_call(&what, &CallError::Protocol)),
            Err(error) => Err(Failure::of_call(&what, &error)),
        }
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn ask(&self, op: Op<Raw<'_>>) -> Result<Reply<Payload>, Failure> {
        call(self.connection, self.id, op).map_err(|error| Failure::of_call(&self.what, &error))
    }

    /// Runs operations one after another, and returns the answer to each.
    ///
    /// # Errors
    /// [`Failure`], but not the fault of a single operation.
    pub(crate) fn ask_all(
        &self,
        ops: impl Iterator<Item = Op<Raw<'static>>>,
    ) -> Result<Vec<Result<Reply<Payload>, Fault>>, Failure> {
        let steps = ops.map(|op| manager_rt::proto::Step { object: self.id, op }).collect();
        let answers = self.connection.manager.backend().pipeline(THREAD, steps);
        answers.map_err(|error| Failure::of_call(&self.what, &error))
    }

    /// Returns the type of its items or values.
    pub(crate) fn value_type(&self) -> Option<&Type> {
        match self.types.as_ref()? {
            Types::Items(value) | Types::Entries(_, value) => Some(value),
        }
    }

    /// Returns the type of its keys.
    pub(crate) fn key_type(&self) -> Option<&Type> {
        match self.types.as_ref()? {
            Types::Entries(key, _) => Some(key),
            Types::Items(_) => None,
        }
    }

    /// Says that its type has to be named.
    pub(crate) fn unknown_type(&self) -> Failure {
        Failure::Failed(format!("{}: mp-manager does not know its type: name it with --type", self.what))
    }

    /// Says that the server sent something unexpected.
    pub(crate) fn unexpected(&self) -> Failure {
        Failure::of_call(&self.what, &CallError::Protocol)
    }
}

/// Returns whether objects of this kind have a type.
pub(crate) const fn has_type(kind: Kind) -> bool {
    matches!(kind, Kind::List | Kind::Dict | Kind::Queue | Kind::JoinableQueue | Kind::Value | Kind::Array)
}

fn checked(what: &str, kind: Kind, named: &Type, print: u64) -> Result<Types, Failure> {
    let Some(types) = Types::named(kind, named) else {
        return Err(Failure::Usage(format!("{what}: a {kind} has two types: --type 'String, u64'")));
    };
    if types.print(kind) != print {
        return Err(Failure::Failed(format!("{what}: its type is not {types}")));
    }
    Ok(types)
}

fn call(connection: &Connection, object: ObjectId, op: Op<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
    connection.manager.backend().call(Call { object, thread: THREAD, wait: Wait::No, op })
}
