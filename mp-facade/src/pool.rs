//! Pools: processes that call one function for many items.
#![expect(dead_code, reason = "the parts of a pool follow one by one")]

mod chunk;
