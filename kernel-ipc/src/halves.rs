//! The methods of sending and receiving ends, written once for pipes and connections.
//!
//! Macros define them as inherent methods of each type. So users need no trait in scope, and the page of each type lists
//! them.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::named::fingerprint;
use mp_sys::ready;
use mp_sys::robust::Patience;
use mp_sys::socket::Endpoint;
use mp_sys::travel;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Defines the sending methods of `$type`, whose field `$print` names the type of the values that it sends.
macro_rules! sends {
    ($type:ident<$($param:ident),+>, $value:ident, $print:ident) => {
        impl<$($param),+> $type<$($param),+> {
            /// Sends a value, waiting while the pipe is full. A borrowed form of the value also works: `&str` for a
            /// `String`, for example. [`SameBytes`] lists these forms.
            ///
            /// # Errors
            /// [`SendError`](crate::SendError): in that case nothing of the value is in the pipe.
            pub fn send<Q>(&self, value: &Q) -> Result<(), SendError>
            where
                Q: serde::Serialize + ?Sized,
                Wire: SameBytes<Q, $value>,
            {
                message::send_value(&self.endpoint, self.$print, value, FOR_EVER)
            }

            /// Sends a value if the pipe has room.
            ///
            /// # Errors
            /// [`SendError::Full`](crate::SendError::Full) if it has none; otherwise those of [`send`](Self::send).
            pub fn try_send<Q>(&self, value: &Q) -> Result<(), SendError>
            where
                Q: serde::Serialize + ?Sized,
                Wire: SameBytes<Q, $value>,
            {
                message::send_value(&self.endpoint, self.$print, value, Patience::None)
            }

            /// Sends a value, waiting at most `timeout` while the pipe is full (monotonic clock; `Duration::MAX` waits
            /// forever).
            ///
            /// # Errors
            /// [`SendError::TimedOut`](crate::SendError::TimedOut); otherwise those of [`send`](Self::send).
            pub fn send_timeout<Q>(&self, value: &Q, timeout: Duration) -> Result<(), SendError>
            where
                Q: serde::Serialize + ?Sized,
                Wire: SameBytes<Q, $value>,
            {
                message::send_value(&self.endpoint, self.$print, value, within(timeout))
            }

            /// Sends bytes as they are, waiting while the pipe is full. The other end receives them with `recv_bytes`.
            ///
            /// # Errors
            /// [`SendError`](crate::SendError): in that case nothing of them is in the pipe.
            pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
                message::send_bytes(&self.endpoint, bytes, FOR_EVER)
            }

            /// Sends bytes as they are if the pipe has room.
            ///
            /// # Errors
            /// [`SendError::Full`](crate::SendError::Full) if it has none; otherwise those of
            /// [`send_bytes`](Self::send_bytes).
            pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
                message::send_bytes(&self.endpoint, bytes, Patience::None)
            }

            /// Sends bytes as they are, waiting at most `timeout` while the pipe is full (monotonic clock).
            ///
            /// # Errors
            /// [`SendError::TimedOut`](crate::SendError::TimedOut); otherwise those of [`send_bytes`](Self::send_bytes).
            pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
                message::send_bytes(&self.endpoint, bytes, within(timeout))
            }

            /// Forwards a message that `recv_message` returned, waiting while the pipe is full. The message may be of any
            /// type. The receiver sees it as it was first sent, with all the handles inside.
            ///
            /// # Errors
            /// [`SendError`](crate::SendError): in that case nothing of the message is in the pipe.
            pub fn forward(&self, message: &Message) -> Result<(), SendError> {
                forward::send(&self.endpoint, message, FOR_EVER)
            }

            /// Forwards a message if the pipe has room.
            ///
            /// # Errors
            /// [`SendError::Full`](crate::SendError::Full) if it has none; otherwise those of [`forward`](Self::forward).
            pub fn try_forward(&self, message: &Message) -> Result<(), SendError> {
                forward::send(&self.endpoint, message, Patience::None)
            }

            /// Forwards a message, waiting at most `timeout` while the pipe is full (monotonic clock).
            ///
            /// # Errors
            /// [`SendError::TimedOut`](crate::SendError::TimedOut); otherwise those of [`forward`](Self::forward).
            pub fn forward_timeout(&self, message: &Message, timeout: Duration) -> Result<(), SendError> {
                forward::send(&self.endpoint, message, within(timeout))
            }
        }
    };
}

/// Defines the receiving methods of `$type`, whose field `$print` names the type of the values that it receives.
macro_rules! receives {
    ($type:ident<$($param:ident),+>, $value:ident, $print:ident) => {
        impl<$($param),+> $type<$($param),+>
        where
            $value: serde::de::DeserializeOwned,
        {
            /// Receives a value, waiting until there is one.
            ///
            /// # Errors
            /// [`RecvError::Closed`](crate::RecvError::Closed) at the end of the stream. After any other error the next
            /// message can be received.
            pub fn recv(&self) -> Result<$value, RecvError> {
                message::recv_value(&self.endpoint, self.$print, FOR_EVER)
            }

            /// Receives a value if there is one.
            ///
            /// # Errors
            /// [`RecvError::Empty`](crate::RecvError::Empty) if there is none; otherwise those of [`recv`](Self::recv).
            pub fn try_recv(&self) -> Result<$value, RecvError> {
                message::recv_value(&self.endpoint, self.$print, Patience::None)
            }

            /// Receives a value, waiting at most `timeout` for one (monotonic clock; `Duration::MAX` waits forever).
            ///
            /// # Errors
            /// [`RecvError::TimedOut`](crate::RecvError::TimedOut); otherwise those of [`recv`](Self::recv).
            pub fn recv_timeout(&self, timeout: Duration) -> Result<$value, RecvError> {
                message::recv_value(&self.endpoint, self.$print, within(timeout))
            }

            /// Returns an iterator that receives values until the end of the stream, waiting for each. A message that
            /// cannot be received yields an error, and the iteration goes on.
            pub fn iter(&self) -> impl Iterator<Item = Result<$value, RecvError>> + '_ {
                std::iter::from_fn(|| match self.recv() {
                    Err(RecvError::Closed) => None,
                    outcome => Some(outcome),
                })
            }
        }

        impl<$($param),+> $type<$($param),+> {
            /// Waits at most `timeout` until there is something to receive, a message or the end of the stream, and returns
            /// whether there is.
            ///
            /// Another thread or process that shares this end may receive the message first.
            ///
            /// # Errors
            /// [`RecvError::System`](crate::RecvError::System).
            pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
                self.endpoint.wait_readable(within(timeout)).map_err(RecvError::System)
            }

            /// Receives a message of any type as it is, for example to forward it. Waits until there is one.
            ///
            /// # Errors
            /// [`RecvError::Closed`](crate::RecvError::Closed) at the end of the stream. After any other error the next
            /// message can be received.
            pub fn recv_message(&self) -> Result<Message, RecvError> {
                forward::recv(&self.endpoint, FOR_EVER)
            }

            /// Receives a message as it is, if there is one.
            ///
            /// # Errors
            /// [`RecvError::Empty`](crate::RecvError::Empty); otherwise those of [`recv_message`](Self::recv_message).
            pub fn try_recv_message(&self) -> Result<Message, RecvError> {
                forward::recv(&self.endpoint, Patience::None)
            }

            /// Receives a message as it is, waiting at most `timeout` for one (monotonic clock).
            ///
            /// # Errors
            /// [`RecvError::TimedOut`](crate::RecvError::TimedOut); otherwise those of
            /// [`recv_message`](Self::recv_message).
            pub fn recv_message_timeout(&self, timeout: Duration) -> Result<Message, RecvError> {
                forward::recv(&self.endpoint, within(timeout))
            }

            /// Receives bytes, waiting until there are some.
            ///
            /// # Errors
            /// [`RecvError::WrongType`](crate::RecvError::WrongType), with the encoded bytes, if the message is a value;
            /// [`RecvError::Closed`](crate::RecvError::Closed) at the end of the stream.
            pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                message::recv_bytes(&self.endpoint, FOR_EVER)
            }

            /// Receives bytes if there are some.
            ///
            /// # Errors
            /// [`RecvError::Empty`](crate::RecvError::Empty); otherwise those of [`recv_bytes`](Self::recv_bytes).
            pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                message::recv_bytes(&self.endpoint, Patience::None)
            }

            /// Receives bytes, waiting at most `timeout` for some (monotonic clock).
            ///
            /// # Errors
            /// [`RecvError::TimedOut`](crate::RecvError::TimedOut); otherwise those of [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
                message::recv_bytes(&self.endpoint, within(timeout))
            }

            /// Receives bytes into `buffer`, waiting until there are some, and returns their number.
            ///
            /// # Errors
            /// [`RecvError::BufferTooShort`](crate::RecvError::BufferTooShort), with the bytes, if they do not fit;
            /// otherwise those of [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                message::recv_bytes_into(&self.endpoint, buffer, FOR_EVER)
            }

            /// Receives bytes into `buffer` if there are some, and returns their number.
            ///
            /// # Errors
            /// [`RecvError::Empty`](crate::RecvError::Empty); otherwise those of
            /// [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                message::recv_bytes_into(&self.endpoint, buffer, Patience::None)
            }

            /// Receives bytes into `buffer`, waiting at most `timeout` for some (monotonic clock), and returns their
            /// number.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`](crate::RecvError::TimedOut); otherwise those of
            /// [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn recv_bytes_into_timeout(
                &self,
                buffer: &mut [u8],
                timeout: Duration,
            ) -> Result<usize, RecvError> {
                message::recv_bytes_into(&self.endpoint, buffer, within(timeout))
            }
        }
    };
}

/// Defines what all ends have in common. The arguments name the types of the values, and which of them the end sends.
macro_rules! is_an_end {
    (
        $type:ident<$($param:ident),+>, $kind:literal,
        [$($print:ident = $of:ident),+], sends [$($sends:ident = $sent:ident),*]
    ) => {
        impl<$($param),+> $type<$($param),+>
        where
            $($sent: serde::de::DeserializeOwned,)*
        {
            /// Makes an end that sends only values that this program can decode.
            pub(crate) fn made(endpoint: Endpoint) -> Self {
                Self { $($sends: Type::sent::<$sent>(),)* ..Self::over(endpoint) }
            }
        }

        impl<$($param),+> $type<$($param),+> {
            pub(crate) fn over(endpoint: Endpoint) -> Self {
                Self { endpoint, $($print: Type::of::<$of>(),)+ values: PhantomData }
            }

            /// Makes an end from a descriptor, for example one that a child inherited under a known number.
            ///
            /// The descriptor does not say which types the other end sends and receives, so a message of another type is
            /// an error only when it is received.
            ///
            /// # Errors
            /// [`NoPipe`], with the descriptor, if it is not an end of a pipe.
            pub fn from_fd(descriptor: OwnedFd) -> Result<Self, NoPipe> {
                Endpoint::of(descriptor).map(Self::over).map_err(|descriptor| NoPipe { descriptor })
            }

            /// Returns another handle of the same end, with its own descriptor. The end is closed when all its handles are.
            ///
            /// `clone` does the same, but shares the descriptor if there is no free one.
            ///
            /// # Errors
            /// `EMFILE` if this process has no free descriptor.
            pub fn try_clone(&self) -> Result<Self, OsError> {
                let endpoint = self.endpoint.duplicate()?;
                Ok(Self { endpoint, $($print: self.$print,)+ values: PhantomData })
            }

            /// Closes this handle, as dropping it does. The other end sees the end of the stream when all handles of this
            /// end are closed, in every process.
            pub fn close(self) {}

            /// Ends the stream at once, for all handles of both ends, in every process. Messages that were sent before can
            /// still be received.
            ///
            /// # Errors
            /// An error of shutdown(2).
            pub fn shutdown(&self) -> Result<(), OsError> {
                self.endpoint.shut_down()
            }
        }

        impl<$($param),+> Clone for $type<$($param),+> {
            /// Returns another handle of the same end: see [`try_clone`](Self::try_clone).
            ///
            /// If this process has no free descriptor, both handles share one. In that case, a child of `fork_with` that is
            /// handed one of them keeps the end open until the child ends.
            fn clone(&self) -> Self {
                let endpoint = self.endpoint.duplicate().unwrap_or_else(|_| self.endpoint.share());
                Self { endpoint, $($print: self.$print,)+ values: PhantomData }
            }
        }

        impl<$($param),+> AsFd for $type<$($param),+> {
            /// Returns the end's descriptor. It is readable when there is a message or the end of the stream.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.endpoint.as_fd()
            }
        }

        impl<$($param),+> serde::Serialize for $type<$($param),+> {
            /// Works only inside a message: see [`pipe`](crate::pipe()). The sender keeps its own handle.
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                let index = travel::pack(self.endpoint.file()).map_err(serde::ser::Error::custom)?;
                (index, [$(self.$print.print),+].map(|print| $crate::halves::print_of_end($kind, print))).serialize(serializer)
            }
        }

        impl<'de, $($param),+> serde::Deserialize<'de> for $type<$($param),+>
        where
            $($sent: serde::de::DeserializeOwned,)*
        {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let wanted = [$(message::print_of::<$of>()),+];
                unpack_end(deserializer, wanted, $kind).map(Self::made)
            }
        }

        impl<$($param),+> std::fmt::Debug for $type<$($param),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                crate::halves::show(stringify!($type), self.as_fd(), f)
            }
        }
    };
}

pub(crate) use {is_an_end, receives, sends};

/// Shows the descriptor of an end, and whether a receiver would wait.
pub(crate) fn show(name: &str, end: BorrowedFd<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let state = if ready::is_readable(end) { "something to receive" } else { "nothing to receive" };
    write!(f, "{name}(fd {}, {state})", end.as_raw_fd())
}

/// Returns the fingerprint of an end inside a message. It differs between a sender and a receiver of the same type.
pub(crate) fn print_of_end(kind: &str, print: u64) -> u64 {
    print ^ fingerprint(kind, 0, 0, "")
}

/// Takes an end out of the message that is being decoded, if its kind and its types are the wanted ones.
pub(crate) fn unpack_end<'de, D: Deserializer<'de>, const PRINTS: usize>(
    deserializer: D,
    wanted: [u64; PRINTS],
    kind: &str,
) -> Result<Endpoint, D::Error>
where
    [u64; PRINTS]: Deserialize<'de>,
{
    let (index, prints) = <(u32, [u64; PRINTS])>::deserialize(deserializer)?;
    let descriptor = travel::unpack(index).map_err(D::Error::custom)?;
    if prints != wanted.map(|print| print_of_end(kind, print)) {
        let reason = format_args!("the message carries another kind of end, or a {kind} of other types");
        return Err(D::Error::custom(travel::refuse(reason)));
    }
    Endpoint::of(descriptor).map_err(|_| {
        D::Error::custom(travel::refuse(format_args!("a descriptor in the message is not a {kind}")))
    })
}

/// Waits forever.
pub(crate) const FOR_EVER: Patience = Patience::Until(Deadline::NEVER);

pub(crate) fn within(timeout: Duration) -> Patience {
    Patience::Until(Deadline::after(timeout))
}
