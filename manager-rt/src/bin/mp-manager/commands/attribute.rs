//! Attributes of namespaces, each of which has its own type.
//!
//! The server tells neither the type of an attribute nor its fingerprint, and returns the value only to who names the type. So
//! the likely types are tried, many with one message.

use manager_rt::Fault;
use manager_rt::proto::{NamespaceOp, Op, Payload, Raw, Reply};

use crate::failure::Failure;
use crate::objects::Object;
use crate::types::{Type, likely};

/// Returns the type and the value of an attribute.
///
/// # Errors
/// [`Failure::Absent`] if there is none; [`Failure::Failed`] if its type is unknown, or another than the named one.
pub(crate) fn find(
    object: &Object<'_>,
    name: &str,
    named: Option<&Type>,
) -> Result<(Type, Payload), Failure> {
    let tried: Vec<Type> = named.map_or_else(|| likely().collect(), |named| vec![named.clone()]);
    let answers = object.ask_all(tried.iter().map(|of| get(name, of)))?;
    for (of, answer) in tried.into_iter().zip(answers) {
        match answer {
            Ok(Reply::Value(value)) => return Ok((of, value)),
            Err(Fault::WrongType) => {}
            Err(Fault::NotFound) => {
                return Err(Failure::Absent(format!("{}: there is no attribute {name:?}", object.what)));
            }
            Err(fault) => return Err(Failure::of_call(&object.what, &fault.into())),
            Ok(_) => return Err(object.unexpected()),
        }
    }
    Err(Failure::Failed(match named {
        Some(named) => format!("{}: the type of the attribute {name:?} is not {named}", object.what),
        None => format!(
            "{}: the type of the attribute {name:?} is unknown here: name it with --type",
            object.what
        ),
    }))
}

fn get(name: &str, of: &Type) -> Op<Raw<'static>> {
    Op::Namespace(NamespaceOp::Get { name: name.to_owned(), print: of.attribute_print() })
}
