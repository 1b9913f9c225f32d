//! The async forms of [`Namespace`]'s methods.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ItemError, ObjectError};
use crate::proto::{Kind, NamespaceOp, Op, Wait};
use crate::proxy::travel::print_of;
use crate::proxy::{Namespace, Proxy, Storable, is_private, read};

impl Namespace {
    /// As [`set`](Self::set), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`]; [`Fault::BadName`](crate::proto::Fault::BadName).
    pub fn set_async<T: Storable + Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> impl Future<Output = Result<(), ObjectError>> + Send {
        let print = print_of::<T::Owned>(Kind::Value);
        let done = if is_private(name) {
            // It stays in this process.
            Err(self.set(name, value))
        } else {
            let name = name.to_owned();
            Ok(self.handle().with_one_async(
                value,
                move |value| Op::Namespace(NamespaceOp::Set { name, print, value }),
                Wait::No,
                read::done,
            ))
        };
        async move {
            match done {
                Ok(pending) => pending.await,
                Err(outcome) => outcome,
            }
        }
    }

    /// As [`get`](Self::get), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn get_async<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<T, ItemError>> + Send {
        let print = print_of::<T>(Kind::Value);
        let op = Op::Namespace(NamespaceOp::Get { name: name.to_owned(), print });
        let pending = (!is_private(name)).then(|| self.handle().ask_async(op, read::value));
        async move {
            match pending {
                Some(pending) => pending.await,
                None => self.get(name),
            }
        }
    }

    /// As [`delete`](Self::delete), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::NotFound`], [`ItemError::Object`].
    pub fn delete_async(&self, name: &str) -> impl Future<Output = Result<(), ItemError>> + Send {
        let op = Op::Namespace(NamespaceOp::Delete { name: name.to_owned() });
        let pending = (!is_private(name)).then(|| self.handle().ask_async(op, read::done));
        async move {
            match pending {
                Some(pending) => pending.await,
                None => self.delete(name),
            }
        }
    }

    /// As [`names`](Self::names), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn names_async(&self) -> impl Future<Output = Result<Vec<String>, ObjectError>> + Send {
        self.handle().ask_async(Op::Namespace(NamespaceOp::Names), read::names)
    }
}
