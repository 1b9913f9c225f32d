//! The server of a manager: sockets around the state machine.

mod inbound;
mod outbound;
