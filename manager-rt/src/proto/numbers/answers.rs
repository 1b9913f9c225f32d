//! The numbers of answers and faults.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{EnumAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(test)]
use crate::proto::golden::{Line, Numbered, Sample, sample_of, shape_of};
use crate::proto::numbered::{ByNumber, Travels, limited_to, longest, newest, numbered, together, unknown};
use crate::proto::reply::Flat;
use crate::proto::report::{
    ClientOrigin, ClientReport, LockHolder, ObjectReport, ServerReport, WaitFor, WaitReport,
};
use crate::proto::{Fault, Info, Kind, Reply, Room, Table};

numbered! {
    enum Kind {
        0 = Manager,
        1 = List,
        2 = Dict,
        3 = Namespace,
        4 = Lock,
        5 = RLock,
        6 = Semaphore,
        7 = BoundedSemaphore,
        8 = Condition,
        9 = Event,
        10 = Queue,
        11 = JoinableQueue,
        12 = Barrier,
        13 = Value,
        14 = Array,
    }
}

numbered! {
    enum Reply<P> {
        0 = Done,
        1 = Bool(is_true),
        2 = Count(count),
        3 = Len { len, version },
        4 = Scanned { found, next, version },
        5 = Value(value),
        6 = Option(value),
        7 = Found(value),
        8 = Before(value),
        9 = Values { values, version },
        10 = Entry(entry),
        11 = Entries { entries, place },
        12 = Object { id, created },
        13 = Granted { token, owner_died, timed_out },
        14 = Leased { lease, deliveries, task },
        15 = Names(names),
        16 = Info(info),
        17 = Acts { index, round },
        18 = Transaction(replies by Flat),
        19 = GrantedLease { token, owner_died, timed_out, waited } since 5,
        20 = Server(server) since 5,
        21 = Clients { clients, next } since 5,
        22 = Objects { objects, next } since 5,
        23 = Waits { waits, next } since 5,
    }
}

numbered! { struct Info { objects, clients, waiters, held, bytes } }

numbered! {
    struct ServerReport {
        version, pid, uptime, memory_used, memory_max, clients, clients_max, objects, waiters, held, operations,
        failed_saves, last_save,
    }
}

numbered! { struct ClientOrigin { pid, program, address } }

numbered! {
    struct ClientReport { number, origin, connected_for, operations, waiting, references, bytes }
}

numbered! { struct LockHolder { client, thread, token, depth, held_for, lease_left } }

numbered! {
    struct ObjectReport { id, kind, print, name, len, bytes, is_estimate, references, waiters, held, holder }
}

numbered! {
    struct WaitReport {
        number, client, thread, object, kind, name, wait_for, waited, time_left, holder,
    }
}

numbered! {
    enum WaitFor {
        0 = Lock since 5,
        1 = Permit since 5,
        2 = Notification since 5,
        3 = Flag since 5,
        4 = Room since 5,
        5 = Items since 5,
        6 = AllDone since 5,
        7 = Parties since 5,
    }
}

numbered! {
    enum Fault {
        0 = UnknownObject,
        1 = WrongKind { found },
        2 = WrongType,
        3 = UnknownName,
        4 = BadName { limit },
        5 = Index { index, len },
        6 = NotFound,
        7 = Exists,
        8 = Changed,
        9 = NoNumber,
        10 = Empty,
        11 = Full,
        12 = WouldBlock,
        13 = TimedOut,
        14 = Cancelled,
        15 = Deadlock,
        16 = NotOwned,
        17 = OverReleased,
        18 = Closed,
        19 = Broken,
        20 = OutOfRange { least, most },
        21 = TooLarge { limit },
        22 = NoSpace,
        23 = TooMany { limit },
        24 = NotInTransaction,
        25 = Unauthorised,
        26 = Malformed,
        27 = Unsupported,
        28 = TooMuchWork { limit } since 4,
        29 = UnknownOperation { table, number, version } since 4,
        30 = NoRoom { room, limit, asked } since 5,
        31 = NotSaved { errno } since 5,
        32 = Ending since 5,
    }
}

numbered! {
    enum Room {
        0 = Memory since 5,
        1 = Reserve since 5,
        2 = Frames since 5,
        3 = Decoded since 5,
        4 = Answers since 5,
        5 = Client since 5,
    }
}

numbered! {
    enum Table {
        0 = Wait since 4,
        1 = Op since 4,
        2 = Spec since 4,
        3 = ManagerOp since 4,
        4 = ListOp since 4,
        5 = DictOp since 4,
        6 = Part since 4,
        7 = Number since 4,
        8 = NamespaceOp since 4,
        9 = ValueOp since 4,
        10 = ArrayOp since 4,
        11 = QueueOp since 4,
        12 = JoinableQueueOp since 4,
        13 = LockOp since 4,
        14 = SemaphoreOp since 4,
        15 = ConditionOp since 4,
        16 = EventOp since 4,
        17 = BarrierOp since 4,
        18 = Kind since 4,
        19 = Reply since 4,
        20 = Fault since 4,
        21 = Table since 4,
        22 = Room since 5,
        23 = WaitFor since 5,
    }
}
