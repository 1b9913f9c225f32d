//! [`Namespace`]: attributes by name, each with its own type.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::CallError;
use crate::error::{ItemError, ObjectError};
use crate::proto::{Kind, NamespaceOp, ObjectId, Op, Raw};
use crate::proxy::travel::print_of;
use crate::proxy::{Handle, Proxy, Storable, codec, read, travels};

/// A set of attributes that any process can read and set. Each has a name and its own type.
///
/// A name that begins with `_` is private, as in Python: the attribute stays in this process, with the proxy and its
/// clones, and is never sent to the manager.
///
/// | property | |
/// |---|---|
/// | values | any type that serde encodes; proxies inside an attribute live as long as the attribute |
/// | atomic | every method |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy over its own connection. Its private attributes are a copy.
///
/// # Crash
/// If a process is killed inside a method, the attribute was set or not.
///
/// # Source
/// Python's `multiprocessing.Manager().Namespace`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::Manager;
///
/// let settings = Manager::in_process()?.namespace()?;
/// settings.set("retries", &3_u32)?;
/// settings.set("_cache", "only here")?;
/// assert_eq!(settings.get::<u32>("retries")?, 3);
/// assert!(settings.get::<String>("retries").is_err(), "it is of another type");
/// assert_eq!(settings.names()?, ["retries"]);
/// # Ok(())
/// # }
/// ```
pub struct Namespace {
    handle: Handle,
    private: Arc<Mutex<HashMap<String, Private>>>,
}

/// An attribute that stays in this process.
#[derive(Debug)]
struct Private {
    print: u64,
    bytes: Vec<u8>,
    ids: Vec<u8>,
    /// Keeps alive the objects whose proxies are inside the value.
    _inside: Vec<Handle>,
}

impl Proxy for Namespace {
    const KIND: Kind = Kind::Namespace;

    fn print() -> u64 {
        print_of::<()>(Self::KIND)
    }

    fn over(handle: Handle) -> Self {
        Self { handle, private: Arc::default() }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Clone for Namespace {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), private: Arc::clone(&self.private) }
    }
}

travels!(Namespace);

impl Namespace {
    /// Sets an attribute, which may have had another type before. A `&str` is stored as a `String` (see [`Storable`]).
    ///
    /// # Errors
    /// [`ObjectError`]; [`Fault::BadName`](crate::proto::Fault::BadName).
    #[doc(alias = "__setattr__")]
    pub fn set<T: Storable + Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), ObjectError> {
        let print = print_of::<T::Owned>(Kind::Value);
        if !is_private(name) {
            return self.handle.ask_with(
                value,
                |value| Op::Namespace(NamespaceOp::Set { name: name.to_owned(), print, value }),
                read::done,
            );
        }
        let mut values = self.handle.values();
        let number = values.add(value)?;
        let raw = values.raw(number);
        let inside = raw.objects().map(|id: ObjectId| Handle::attach(self.handle.backend(), id));
        let inside = inside.collect::<Result<Vec<_>, CallError>>()?;
        let private = Private { print, bytes: raw.bytes.to_vec(), ids: raw.ids.to_vec(), _inside: inside };
        self.private().insert(name.to_owned(), private);
        Ok(())
    }

    /// Returns the value of an attribute.
    ///
    /// # Errors
    /// [`ItemError::NotFound`] if the attribute was not set; [`ObjectError::WrongType`] if it was set with another
    /// type.
    #[doc(alias = "__getattribute__")]
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ItemError> {
        let print = print_of::<T>(Kind::Value);
        if !is_private(name) {
            let op = Op::Namespace(NamespaceOp::Get { name: name.to_owned(), print });
            return Ok(self.handle.ask(op, read::value)?);
        }
        let all = self.private();
        let found = all.get(name).ok_or(ItemError::NotFound)?;
        if found.print != print {
            return Err(ObjectError::WrongType.into());
        }
        Ok(codec::look(self.handle.backend(), Raw { bytes: &found.bytes, ids: &found.ids })?)
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// [`ItemError::NotFound`], [`ItemError::Object`].
    #[doc(alias = "__delattr__")]
    pub fn delete(&self, name: &str) -> Result<(), ItemError> {
        if is_private(name) {
            return self.private().remove(name).map(drop).ok_or(ItemError::NotFound);
        }
        let op = Op::Namespace(NamespaceOp::Delete { name: name.to_owned() });
        Ok(self.handle.ask(op, read::done)?)
    }

    /// Returns the names of all attributes in the manager, in the order in which they were first set. Private names are
    /// not included.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn names(&self) -> Result<Vec<String>, ObjectError> {
        self.handle.ask(Op::Namespace(NamespaceOp::Names), read::names)
    }

    fn private(&self) -> MutexGuard<'_, HashMap<String, Private>> {
        self.private.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn is_private(name: &str) -> bool {
    name.starts_with('_')
}
