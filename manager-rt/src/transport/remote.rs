//! Streams between hosts: TCP, with the Noise protocol on top.
//!
//! | module | what it does |
//! |---|---|
//! | `noise` | the keys, the handshake and the sealing of records, without a socket |

mod noise;
