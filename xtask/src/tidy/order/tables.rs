//! The orders of this workspace, from the top row to the bottom row of each folder.

use super::Order;

pub(super) const ORDERS: &[Order] = &[MANAGER_RT];

const MANAGER_RT: Order = Order {
    folder: "manager-rt/src",
    rows: &[
        &["conformance", "fuzzing"],
        &["manager"],
        &["process", "batch"],
        &["proxy"],
        &["registry"],
        &["client", "engine", "server"],
        &["error"],
        &["backend", "references", "state", "transport"],
        &["wire"],
        &["proto", "address", "key"],
        &["count", "limits"],
    ],
};
