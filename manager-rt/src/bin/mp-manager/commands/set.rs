//! `set`: sets a value, the value of a key, an item or an attribute.

use manager_rt::proto::{ArrayOp, DictOp, EventOp, Kind, ListOp, NamespaceOp, Op, Raw, Reply, Spec, ValueOp};

use crate::args::Set;
use crate::commands::attribute;
use crate::failure::Failure;
use crate::objects::Object;
use crate::target::Connection;
use crate::types::{Type, Types};
use crate::values::from_text;

pub(crate) fn run(options: &Set) -> Result<(), Failure> {
    let (key, value) = match &options.key_and_value[..] {
        [key, value] => (Some(key.as_str()), value.as_str()),
        [value] => (None, value.as_str()),
        _ => return Err(Failure::Usage("a value is missing".to_owned())),
    };
    let connection = Connection::open(&options.target)?;
    let named = options.types.as_ref();
    let object = match Object::try_find(&connection, &options.name, named)? {
        Some(object) => object,
        None => made(&connection, options, key, value)?,
    };
    match set(&object, key, value, named)? {
        Reply::Done => Ok(()),
        _ => Err(object.unexpected()),
    }
}

/// Makes an object of the named type.
fn made<'c>(
    connection: &'c Connection,
    options: &Set,
    key: Option<&str>,
    value: &str,
) -> Result<Object<'c>, Failure> {
    let what = connection.object(&options.name);
    let Some(named) = &options.types else {
        return Err(Failure::Absent(format!("{what}: no object has this name; --type makes one")));
    };
    if key.is_none() {
        let bytes = encoded(named, value)?;
        return Object::make(
            connection,
            &options.name,
            Spec::Value(Raw::plain(&bytes)),
            Types::Items(named.clone()),
        );
    }
    let types = Types::named(Kind::Dict, named);
    let types =
        types.ok_or_else(|| Failure::Usage(format!("{what}: a dict has two types: --type 'String, u64'")))?;
    Object::make(connection, &options.name, Spec::Dict, types)
}

fn set(
    object: &Object<'_>,
    key: Option<&str>,
    value: &str,
    named: Option<&Type>,
) -> Result<Reply<manager_rt::proto::Payload>, Failure> {
    let of_values = || object.value_type().ok_or_else(|| object.unknown_type());
    match (object.kind, key) {
        (Kind::Value, None) => {
            object.ask(Op::Value(ValueOp::Store(Raw::plain(&encoded(of_values()?, value)?))))
        }
        (Kind::Event, None) => {
            let is_set = value
                .parse()
                .map_err(|_| Failure::Usage(format!("{}: set an event to true or false", object.what)))?;
            object.ask(Op::Event(if is_set { EventOp::Set } else { EventOp::Clear }))
        }
        (Kind::Dict, Some(key)) => {
            let of_keys = object.key_type().ok_or_else(|| object.unknown_type())?;
            let key = from_text(of_keys, key).map_err(|why| Failure::Usage(format!("the key: {why}")))?;
            let value = encoded(of_values()?, value)?;
            object.ask(Op::Dict(DictOp::Store(Raw::plain(&key), Raw::plain(&value))))
        }
        (Kind::List, Some(index)) => {
            let value = encoded(of_values()?, value)?;
            object.ask(Op::List(ListOp::Store(object.index(index)?, Raw::plain(&value))))
        }
        (Kind::Array, Some(index)) => {
            let value = encoded(of_values()?, value)?;
            object.ask(Op::Array(ArrayOp::Store(object.index(index)?, Raw::plain(&value))))
        }
        (Kind::Namespace, Some(name)) => {
            // An attribute keeps its type, unless the user names another one.
            let of = match named {
                Some(named) => named.clone(),
                None => attribute::find(object, name, None)?.0,
            };
            let value = encoded(&of, value)?;
            let (name, print) = (name.to_owned(), of.attribute_print());
            object.ask(Op::Namespace(NamespaceOp::Set { name, print, value: Raw::plain(&value) }))
        }
        (Kind::Value | Kind::Event, Some(_)) => {
            Err(Failure::Usage(format!("{}: a {} has no keys", object.what, object.kind)))
        }
        (Kind::Dict | Kind::List | Kind::Array | Kind::Namespace, None) => Err(Failure::Usage(format!(
            "{}: a {} needs a key or an index, and a value",
            object.what, object.kind
        ))),
        (kind, _) => Err(Failure::Failed(format!("{}: a {kind} has no values to set", object.what))),
    }
}

fn encoded(of: &Type, text: &str) -> Result<Vec<u8>, Failure> {
    from_text(of, text).map_err(Failure::Usage)
}
