//! The numbers of operations.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{EnumAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(test)]
use crate::proto::golden::{Line, Numbered, Sample, sample_of, shape_of};
use crate::proto::limited::{Elements, Entries, FilePath, Many, Name, Order, References, Values};
use crate::proto::numbered::{ByNumber, Travels, limited_to, longest, newest, numbered, together, unknown};
use crate::proto::{
    ArrayOp, BarrierOp, Call, ConditionOp, DictOp, EventOp, JoinableQueueOp, ListOp, LockOp, ManagerOp,
    NamespaceOp, Number, Op, Part, QueueOp, Scan, SemaphoreOp, Spec, Step, Table, ValueOp, Wait,
};

numbered! {
    enum Wait {
        0 = No,
        1 = For(nanos),
        2 = Forever,
    }
}

numbered! { struct Call<P> { object, thread, wait, op } }

numbered! { struct Step<P> { object, op } }

numbered! {
    enum Op<P> {
        0 = Manager(op),
        1 = List(op),
        2 = Dict(op),
        3 = Namespace(op),
        4 = Lock(op),
        5 = Semaphore(op),
        6 = Condition(op),
        7 = Event(op),
        8 = Queue(op),
        9 = JoinableQueue(op),
        10 = Barrier(op),
        11 = Value(op),
        12 = Array(op),
    }
}

numbered! {
    enum Spec<P> {
        0 = List,
        1 = Dict,
        2 = Namespace,
        3 = Lock,
        4 = RLock,
        5 = Semaphore(permits),
        6 = BoundedSemaphore(permits),
        7 = Condition,
        8 = Event,
        9 = Queue(maxsize),
        10 = JoinableQueue { maxsize, max_deliveries },
        11 = Barrier(parties),
        12 = Value(value),
        13 = Array(elements by Elements),
        14 = ArrayOf(list) since 4,
    }
}

numbered! {
    enum ManagerOp<P> {
        0 = Create { spec, print },
        1 = Open { name by Name, spec, print },
        2 = Remove { name by Name },
        3 = Names,
        4 = Attach(objects by References),
        5 = Detach { references by References, lingers },
        6 = Transit(objects by References),
        9 = Info,
        11 = Shutdown,
        12 = NamesAfter { name by Name } since 4,
        13 = Bequeath { bequest } since 4,
        14 = Server since 5,
        15 = Clients { from } since 5,
        16 = Objects { from, is_busy } since 5,
        17 = Object { name by Name } since 5,
        18 = Waits { after } since 5,
        19 = Snapshot { path by FilePath } since 5,
        20 = Succeed { session, serial } since 5,
    }
    // In use: see `Control` in wire/control.rs.
    retired { 7, 8, 10, 21 }
}

numbered! {
    enum ListOp<P> {
        0 = Push(item),
        1 = Extend(items by Values),
        2 = Get(at),
        3 = Set(at, item),
        4 = Insert(at, item),
        5 = Remove(at),
        6 = Pop,
        7 = RemoveValue(scan),
        8 = IndexOf(scan),
        9 = Count(scan),
        10 = Len,
        11 = Clear,
        12 = Reverse,
        13 = Swap(at, with),
        14 = Page { at, max },
        15 = CompareExchange { at, expected, new },
        16 = Reorder { version, order by Order },
        17 = Store(at, item) since 4,
        18 = Delete(at) since 4,
        19 = Gather { from, version, order by Order } since 4,
        20 = Exchange { with, version } since 4,
    }
}

numbered! { struct Scan<P> { value, from, version } }

numbered! {
    enum DictOp<P> {
        0 = Get(key),
        1 = Insert(key, value),
        2 = InsertNew(key, value),
        3 = Claim(key, value),
        4 = Remove(key),
        5 = Contains(key),
        6 = GetOrInsert(key, value),
        7 = PopItem,
        8 = Extend(entries by Entries),
        9 = Len,
        10 = Clear,
        11 = FetchAdd(key, number),
        12 = FetchAddMany(entries by Entries),
        13 = CompareExchange { key, expected, new },
        14 = Page { after, max, part },
        15 = Store(key, value) since 4,
        16 = Delete(key) since 4,
    }
}

numbered! {
    enum Part {
        0 = Keys,
        1 = Values,
        2 = Items,
    }
}

numbered! {
    enum Number {
        0 = U8(number),
        1 = U16(number),
        2 = U32(number),
        3 = U64(number),
        4 = U128(number),
        5 = I8(number),
        6 = I16(number),
        7 = I32(number),
        8 = I64(number),
        9 = I128(number),
        10 = F32(number),
        11 = F64(number),
    }
}

numbered! {
    enum NamespaceOp<P> {
        0 = Get { name by Name, print },
        1 = Set { name by Name, print, value },
        2 = Delete { name by Name },
        3 = Names,
    }
}

numbered! {
    enum ValueOp<P> {
        0 = Get,
        1 = Set(value),
        2 = CompareExchange { expected, new },
        3 = FetchAdd(number),
        4 = Store(value) since 4,
    }
}

numbered! {
    enum ArrayOp<P> {
        0 = Len,
        1 = Get(at),
        2 = Set(at, element),
        3 = Read { at, max },
        4 = Write { at, elements by Values },
        5 = CompareExchange { at, expected, new },
        6 = FetchAdd(at, number),
        7 = Store(at, element) since 4,
    }
}

numbered! {
    enum QueueOp<P> {
        0 = Put(item),
        1 = PutMany(items by Many),
        2 = Get,
        3 = GetMany(most),
        4 = Len,
        5 = Capacity,
        6 = Close,
        7 = IsClosed,
    }
}

numbered! {
    enum JoinableQueueOp<P> {
        0 = Put(task),
        1 = PutMany(tasks by Many),
        2 = Get,
        3 = Done { lease },
        4 = Requeue { lease },
        5 = Join,
        6 = Len,
        7 = Capacity,
        8 = Unfinished,
        9 = Failed { at, take },
        10 = Close,
        11 = IsClosed,
    }
}

numbered! {
    enum LockOp {
        0 = Acquire { lease },
        1 = Release { token },
        2 = IsLocked,
    }
}

numbered! {
    enum SemaphoreOp {
        0 = Acquire,
        1 = Release,
        2 = Forget,
        3 = Add(permits),
        4 = Available,
        5 = Take since 5,
        6 = Return { token } since 5,
        7 = Disown { token } since 5,
    }
}

numbered! {
    enum ConditionOp {
        0 = Wait { lock, token },
        1 = Notify(count),
        2 = Waiting,
    }
}

numbered! {
    enum EventOp {
        0 = Wait,
        1 = Set,
        2 = Clear,
        3 = IsSet,
    }
}

numbered! {
    enum BarrierOp {
        0 = Wait { acts },
        1 = EndRound { round },
        2 = Register,
        3 = Unregister,
        4 = Abort,
        5 = Reset,
        6 = Parties,
        7 = Waiting,
        8 = IsBroken,
        9 = Enrol since 5,
        10 = Withdraw { token } since 5,
    }
}
