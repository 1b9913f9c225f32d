//! The methods of sending and receiving ends for tasks of a tokio runtime.

/// Defines the sending methods for tasks.
macro_rules! sends_in_tasks {
    ($type:ident<$($param:ident),+>, $value:ident, $print:ident) => {
        impl<$($param),+> $type<$($param),+> {
            /// Sends a value, and lets other tasks run while the pipe is full. Works like [`send`](Self::send).
            ///
            /// The value is encoded at once. The future does not borrow it, and sends it when it is polled.
            ///
            /// The kernel reports room only when the other side has received three quarters of the messages. If there is less,
            /// the task finds it within 40 ms.
            ///
            /// # Errors
            /// [`SendError::Runtime`](crate::SendError::Runtime) if the task has to wait, and this is no tokio runtime with
            /// I/O and timers; otherwise those of [`send`](Self::send). Nothing of the value is in the pipe.
            ///
            /// # Cancellation
            /// If the future is dropped before it is ready, nothing was sent.
            ///
            /// # Examples
            /// ```
            /// # extern crate kernel_ipc as mp;
            /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            /// let (tx, rx) = mp::pipe::<String>()?;
            /// # runtime.block_on(async {
            /// let (sent, received) = tokio::join!(tx.send_async("hello"), rx.recv_async());
            /// sent?;
            /// assert_eq!(received?, "hello");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// # })?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn send_async<Q>(
                &self,
                value: &Q,
            ) -> impl Future<Output = Result<(), SendError>> + Send + use<'_, $($param,)+ Q>
            where
                Q: serde::Serialize + ?Sized,
                Wire: SameBytes<Q, $value>,
            {
                message::asynchronous::send_value(&self.endpoint, self.$print, value)
            }

            /// Sends bytes as they are, and lets other tasks run while the pipe is full. Works like
            /// [`send_bytes`](Self::send_bytes).
            ///
            /// # Errors
            /// Those of [`send_async`](Self::send_async).
            ///
            /// # Cancellation
            /// If the future is dropped before it is ready, nothing was sent.
            pub async fn send_bytes_async(&self, bytes: &[u8]) -> Result<(), SendError> {
                message::asynchronous::send_bytes(&self.endpoint, bytes).await
            }

            /// Forwards a message, and lets other tasks run while the pipe is full. Works like [`forward`](Self::forward).
            ///
            /// # Errors
            /// Those of [`send_async`](Self::send_async).
            ///
            /// # Cancellation
            /// If the future is dropped before it is ready, nothing was sent.
            pub async fn forward_async(&self, message: &Message) -> Result<(), SendError> {
                forward::asynchronous::send(&self.endpoint, message).await
            }
        }
    };
}

/// Defines the receiving methods for tasks.
macro_rules! receives_in_tasks {
    ($type:ident<$($param:ident),+>, $value:ident, $print:ident) => {
        impl<$($param),+> $type<$($param),+>
        where
            $value: serde::de::DeserializeOwned,
        {
            /// Receives a value, and lets other tasks run until there is one. Works like [`recv`](Self::recv).
            ///
            /// # Errors
            /// [`RecvError::Runtime`](crate::RecvError::Runtime) if the task has to wait, and this is no tokio runtime with
            /// I/O and timers; otherwise those of [`recv`](Self::recv).
            ///
            /// # Cancellation
            /// If the future is dropped before it is ready, nothing was received, and other receivers miss nothing.
            ///
            /// # Crash
            /// A process that is killed here loses at most the one message that it was taking.
            pub async fn recv_async(&self) -> Result<$value, RecvError> {
                message::asynchronous::recv_value(&self.endpoint, self.$print).await
            }

            /// Returns a stream that receives values until the end of the stream of messages. It works like
            /// [`iter`](Self::iter), but lets other tasks run.
            ///
            /// # Cancellation
            /// If the stream is dropped, no message is lost.
            pub fn stream(&self) -> impl futures_core::Stream<Item = Result<$value, RecvError>> + '_ {
                mp_sys::asynchronous::repeated(move || async move {
                    match self.recv_async().await {
                        Err(RecvError::Closed) => None,
                        outcome => Some(outcome),
                    }
                })
            }
        }

        impl<$($param),+> $type<$($param),+> {
            /// Receives a message of any type as it is, and lets other tasks run until there is one. Works like
            /// [`recv_message`](Self::recv_message).
            ///
            /// # Errors
            /// Those of [`recv_async`](Self::recv_async), except `Decode` and `WrongType`.
            ///
            /// # Cancellation
            /// If the future is dropped before it is ready, nothing was received.
            pub async fn recv_message_async(&self) -> Result<Message, RecvError> {
                forward::asynchronous::recv(&self.endpoint).await
            }

            /// Receives bytes, and lets other tasks run until there are some. Works like [`recv_bytes`](Self::recv_bytes).
            ///
            /// # Errors
            /// Those of [`recv_async`](Self::recv_async), except `Decode`.
            ///
            /// # Cancellation
            /// If the future is dropped before it is ready, nothing was received.
            pub async fn recv_bytes_async(&self) -> Result<Vec<u8>, RecvError> {
                message::asynchronous::recv_bytes(&self.endpoint).await
            }
        }
    };
}

pub(crate) use {receives_in_tasks, sends_in_tasks};
