//! The orders of this workspace, from the top row to the bottom row of each folder.

use super::Order;

pub(super) const ORDERS: &[Order] =
    &[KERNEL_IPC, KERNEL_IPC_QUEUE, MANAGER_RT, MANAGER_RT_CLIENT, MANAGER_RT_STATE];

const KERNEL_IPC: Order = Order {
    folder: "kernel-ipc/src",
    rows: &[
        &["fuzzing"],
        &["listener"],
        &["connection", "pipe"],
        &["halves", "forward", "queue", "wait"],
        &["message", "descriptor"],
        &["address", "error"],
        &["limits"],
    ],
};

/// A ring knows neither of its sides, and a core knows no queue in a message.
const KERNEL_IPC_QUEUE: Order = Order {
    folder: "kernel-ipc/src/queue",
    rows: &[
        &["fuzz"],
        &["asynchronous"],
        &["iter"],
        &["joinable", "simple"],
        &["bytes", "handle", "put"],
        &["typed"],
        &["batch"],
        &["item", "travel"],
        &["core"],
        &["config", "error"],
        &["leases"],
        &["consumer", "producer"],
        &["segment"],
        &["refused"],
        &["ring"],
        &["doorbell", "flag", "layout", "lull"],
    ],
};

const MANAGER_RT: Order = Order {
    folder: "manager-rt/src",
    rows: &[
        &["conformance", "fuzzing"],
        &["manager"],
        &["process", "batch"],
        &["proxy"],
        &["registry"],
        &["client", "engine", "server"],
        &["error", "report"],
        &["backend", "references", "state", "transport"],
        &["wire"],
        &["proto", "address", "key"],
        &["account"],
        &["count", "limits"],
    ],
};

const MANAGER_RT_CLIENT: Order = Order {
    folder: "manager-rt/src/client",
    rows: &[
        &["asynchronous"],
        &["fuzz", "self"],
        &["bequest", "open"],
        &["fallback"],
        &["link"],
        &["patience"],
        &["connect", "connection"],
        &["calls"],
        &["inbox"],
        &["alarm", "answer"],
    ],
};

/// Objects know the context of an operation, and the context knows no object. What moves between several objects stands
/// above the machine.
const MANAGER_RT_STATE: Order = Order {
    folder: "manager-rt/src/state",
    rows: &[
        &["report", "snapshot"],
        &[
            "backlog",
            "bequests",
            "condition",
            "continued",
            "ending",
            "exchange",
            "lines",
            "manager",
            "together",
        ],
        &["self"],
        &["commit"],
        &["bodies", "observed"],
        &["kinds"],
        &["namespace"],
        &[
            "array",
            "barrier",
            "dict",
            "event",
            "joinable_queue",
            "list",
            "lock",
            "queue",
            "semaphore",
            "value",
        ],
        &["fifo"],
        &["memory", "waking"],
        &["context"],
        &["journal", "work"],
        &["undo"],
        &["clients", "contents", "items", "registry"],
        &["grants", "numbers", "page", "sequence", "table", "unfinished", "waiters"],
        &["asked", "delivery", "sessions"],
        &["charges", "claims", "snapshot_fault"],
        &["step"],
    ],
};
