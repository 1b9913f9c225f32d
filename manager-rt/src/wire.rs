//! How operations and answers travel in the stream between a client and a server.
//!
//! | part | role |
//! |---|---|
//! | [`frame`] | the layout of a frame |
//! | [`control`] | what a client sends about its own calls |
//! | `encode`, `decode` | turn calls into frames, and bodies into calls |
//! | `pieces` | bytes to write that lie in several places |
//! | [`recorded`] | operations that wait to be sent |
//! | `together` | several calls in one frame |
//! | `undo` | what an answer may bring |
//! | `kept` | the buffer that each thread of a client keeps |
//! | `inbound`, `outbound` | the frames of a stream that arrive, and those that wait to be written |

pub mod control;
pub(crate) mod decode;
pub(crate) mod encode;
pub mod frame;
pub(crate) mod inbound;
pub(crate) mod kept;
#[cfg(feature = "server")]
pub(crate) mod outbound;
pub(crate) mod pieces;
pub mod recorded;
pub(crate) mod together;
pub(crate) mod undo;
