//! Tests of the lock and its guards inside one process.
