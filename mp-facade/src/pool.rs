//! Pools: processes that call one function for many items.
#![expect(dead_code, unreachable_pub, reason = "the parts of a pool follow one by one")]

mod chunk;
mod engine;
mod error;
mod health;
mod rules;
mod seat;
mod worker;
