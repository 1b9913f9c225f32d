//! The crash matrix: every object in every role, with processes killed by SIGKILL.
//!
//! `cargo xtask crash` runs it as a report (`--matrix [--long] [--json] [CELL…]`); `cargo test` runs a short form of
//! each cell as a test. There are two kinds of cells:
//!
//! - *random moments*: a process in that role is killed again and again, each time at another moment;
//! - *every point*: the process dies at each counted crash point of an operation, one after the other.
//!
//! These counts must be 0: `hangs` (no other process went on in time), `torn` (a value that was never stored, seen
//! without poison), `lost` (an acknowledged update that is gone), `duplicated` (more updates than were made).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is the product")]

mod asynchronous;
mod barrier;
mod cell;
mod condition;
mod contended;
mod creation;
mod events;
mod group;
mod locks;
mod manager;
mod names;
mod owner;
mod pipe;
mod points;
mod pool;
mod queue;
mod queue_points;
mod readers;
mod report;
mod rwlock;
mod semaphores;
mod starting;
mod stores;

use std::process::ExitCode;

use cell::Cell;
use mp_sys::testing::runner;

/// Kills of a random cell when it runs as a test or in the short matrix.
const KILLS_SHORT: u32 = 100;
/// Kills of a random cell in the long matrix.
const KILLS_LONG: u32 = 1000;

macro_rules! cells {
    ($($test:ident: $cell:expr;)*) => {
        const CELLS: &[Cell] = &[$($cell),*];

        $(fn $test() {
            $cell.assert_clean(KILLS_SHORT);
        })*

        mp_sys::testing::tests! { $($test),* }
    };
}

cells! {
    lock_holder: locks::LOCK_HOLDER;
    lock_waiter: locks::LOCK_WAITER;
    lock_just_woken: locks::LOCK_JUST_WOKEN;
    rlock_holder: locks::RLOCK_HOLDER;
    rlock_waiter: locks::RLOCK_WAITER;
    rlock_just_woken: locks::RLOCK_JUST_WOKEN;
    lock_every_point_of_holding: locks::LOCK_EVERY_POINT_OF_HOLDING;
    lock_every_point_of_taking_over: locks::LOCK_EVERY_POINT_OF_TAKING_OVER;
    rlock_every_point_of_holding: locks::RLOCK_EVERY_POINT_OF_HOLDING;
    rlock_every_point_of_nesting: locks::RLOCK_EVERY_POINT_OF_NESTING;
    rlock_every_point_of_taking_over: locks::RLOCK_EVERY_POINT_OF_TAKING_OVER;
    lock_overtaken_and_killed: contended::LOCK_OVERTAKEN;
    rlock_overtaken_and_killed: contended::RLOCK_OVERTAKEN;
    value_overtaken_and_killed: contended::VALUE_OVERTAKEN;
    array_overtaken_and_killed: contended::ARRAY_OVERTAKEN;
    condition_overtaken_and_killed: contended::CONDITION_OVERTAKEN;
    lock_every_point_in_a_crowd: contended::LOCK_POINTS;
    rlock_every_point_in_a_crowd: contended::RLOCK_POINTS;
    value_every_point_in_a_crowd: contended::VALUE_POINTS;
    array_every_point_in_a_crowd: contended::ARRAY_POINTS;
    condition_every_point_in_a_crowd: contended::CONDITION_POINTS;
    queue_every_point_of_put_in_a_crowd: contended::PUT_POINTS;
    queue_every_point_of_get_in_a_crowd: contended::GET_POINTS;
    lock_in_a_crowd: contended::LOCK_MOMENTS;
    rlock_in_a_crowd: contended::RLOCK_MOMENTS;
    value_in_a_crowd: contended::VALUE_MOMENTS;
    array_in_a_crowd: contended::ARRAY_MOMENTS;
    condition_in_a_crowd: contended::CONDITION_MOMENTS;
    queue_put_in_a_crowd: contended::PUT_MOMENTS;
    queue_get_in_a_crowd: contended::GET_MOMENTS;
    rwlock_reader: rwlock::READER;
    rwlock_writer: rwlock::WRITER;
    rwlock_waiting_writer: rwlock::WAITING_WRITER;
    rwlock_waiting_reader: rwlock::WAITING_READER;
    rwlock_just_woken: rwlock::JUST_WOKEN;
    rwlock_mid_use: rwlock::MID_USE;
    rwlock_every_point_of_read: rwlock::EVERY_POINT_OF_READ;
    rwlock_every_point_of_write: rwlock::EVERY_POINT_OF_WRITE;
    rwlock_every_point_of_leaving: rwlock::EVERY_POINT_OF_LEAVING;
    rwlock_every_point_of_taking_over: rwlock::EVERY_POINT_OF_TAKING_OVER;
    rlock_every_point_of_nesting_in_a_crowd: contended::operations::RLOCK_NESTED_POINTS;
    value_every_point_of_set_in_a_crowd: contended::operations::VALUE_SET_POINTS;
    condition_every_point_of_wait_in_a_crowd: contended::operations::CONDITION_WAIT_POINTS;
    queue_every_point_of_many_in_a_crowd: contended::operations::QUEUE_MANY_POINTS;
    joinable_queue_every_point_in_a_crowd: contended::operations::JOINABLE_POINTS;
    rlock_nested_in_a_crowd: contended::operations::RLOCK_NESTED_MOMENTS;
    value_set_in_a_crowd: contended::operations::VALUE_SET_MOMENTS;
    condition_wait_in_a_crowd: contended::operations::CONDITION_WAIT_MOMENTS;
    queue_many_in_a_crowd: contended::operations::QUEUE_MANY_MOMENTS;
    joinable_queue_in_a_crowd: contended::operations::JOINABLE_MOMENTS;
    semaphore_holder: semaphores::HOLDER;
    semaphore_waiter: semaphores::WAITER;
    semaphore_just_woken: semaphores::JUST_WOKEN;
    semaphore_mid_acquire: semaphores::MID_ACQUIRE;
    semaphore_every_point_of_acquire: semaphores::EVERY_POINT_OF_ACQUIRE;
    semaphore_every_point_of_release: semaphores::EVERY_POINT_OF_RELEASE;
    semaphore_every_point_of_add: semaphores::EVERY_POINT_OF_ADD;
    bounded_semaphore_holder: semaphores::BOUNDED_HOLDER;
    bounded_semaphore_waiter: semaphores::BOUNDED_WAITER;
    bounded_semaphore_just_woken: semaphores::BOUNDED_JUST_WOKEN;
    bounded_semaphore_mid_acquire: semaphores::BOUNDED_MID_ACQUIRE;
    event_waiter: events::WAITER;
    event_just_woken: events::JUST_WOKEN;
    barrier_waiter: barrier::WAITER;
    barrier_just_woken: barrier::JUST_WOKEN;
    barrier_just_woken_and_registered: barrier::JUST_WOKEN_AND_REGISTERED;
    barrier_registered: barrier::REGISTERED;
    barrier_acting: barrier::ACTING;
    barrier_every_point_of_party: barrier::EVERY_POINT_OF_PARTY;
    barrier_every_point_of_leaving: barrier::EVERY_POINT_OF_LEAVING;
    barrier_every_point_of_wait: barrier::EVERY_POINT_OF_WAIT;
    barrier_every_point_of_acting: barrier::EVERY_POINT_OF_ACTING;
    barrier_every_point_of_giving_up: barrier::EVERY_POINT_OF_GIVING_UP;
    barrier_every_point_of_abort: barrier::EVERY_POINT_OF_ABORT;
    barrier_every_point_of_reset: barrier::EVERY_POINT_OF_RESET;
    condition_waiter: condition::WAITER;
    condition_notifier: condition::NOTIFIER;
    condition_just_woken: condition::JUST_WOKEN;
    condition_every_point_of_wait: condition::EVERY_POINT_OF_WAIT;
    condition_every_point_of_waking: condition::EVERY_POINT_OF_WAKING;
    condition_every_point_of_passing_on: condition::EVERY_POINT_OF_PASSING_ON;
    condition_every_point_of_notify: condition::EVERY_POINT_OF_NOTIFY;
    value_holder: locks::VALUE_HOLDER;
    value_waiter: locks::VALUE_WAITER;
    value_just_woken: locks::VALUE_JUST_WOKEN;
    array_holder: locks::ARRAY_HOLDER;
    array_waiter: locks::ARRAY_WAITER;
    array_just_woken: locks::ARRAY_JUST_WOKEN;
    value_mid_set: stores::VALUE_MID_SET;
    value_mid_update: stores::VALUE_MID_UPDATE;
    array_mid_set: stores::ARRAY_MID_SET;
    array_mid_write: stores::ARRAY_MID_WRITE;
    value_readers_of_a_word: readers::SMALL;
    value_readers: readers::LARGE;
    array_readers: readers::ARRAY;
    raw_value_mid_store: stores::RAW_VALUE_MID_STORE;
    raw_array_mid_write: stores::RAW_ARRAY_MID_WRITE;
    arena_mid_create: creation::ARENA_MID_CREATE;
    child_mid_result: creation::CHILD_MID_RESULT;
    name_every_point_of_creating: names::FIRST;
    name_every_point_of_following_the_dead: names::AFTER_THE_DEAD;
    name_every_point_of_opening_what_stays: names::PERSISTENT;
    name_every_point_of_persist: names::PERSIST;
    pipe_mid_send: pipe::MID_SEND;
    pipe_waiter_for_room: pipe::FULL;
    pipe_mid_recv: pipe::MID_RECV;
    pipe_just_woken: pipe::JUST_WOKEN;
    value_every_point_of_set: points::VALUE_SET;
    value_every_point_of_update: points::VALUE_UPDATE;
    array_every_point_of_set: points::ARRAY_SET;
    array_every_point_of_write: points::ARRAY_WRITE;
    value_every_point_of_taking_over: points::VALUE_TAKE_OVER;
    array_every_point_of_taking_over: points::ARRAY_TAKE_OVER;
    queue_mid_put: queue::MID_PUT;
    queue_mid_put_many: queue::MID_PUT_MANY;
    queue_mid_get: queue::MID_GET;
    queue_mid_grow: queue::MID_GROW;
    queue_both_sides: queue::BOTH_SIDES;
    queue_waiter: queue::WAITER;
    queue_just_woken: queue::JUST_WOKEN;
    queue_waiter_for_room: queue::FULL_WAITER;
    queue_every_point_of_put: queue_points::PUT;
    queue_every_point_of_put_many: queue_points::PUT_MANY;
    queue_every_point_of_grow: queue_points::GROW;
    queue_every_point_of_next_segment: queue_points::GO_ON;
    queue_every_point_of_get: queue_points::GET;
    queue_every_point_of_get_many: queue_points::GET_MANY;
    queue_every_point_of_shrink: queue_points::SHRINK;
    queue_every_point_while_polled: queue_points::POLLED;
    queue_every_point_of_close: queue_points::CLOSE;
    queue_every_point_of_taking_over: queue_points::TAKE_OVER;
    joinable_queue_worker: queue::JOINABLE_WORKER;
    joinable_queue_holder: queue::JOINABLE_HOLDER;
    joinable_queue_every_point_of_get: queue_points::LEASE;
    joinable_queue_every_point_of_done: queue_points::DONE;
    joinable_queue_every_point_of_requeue: queue_points::REQUEUE;
    joinable_queue_every_point_of_look: queue_points::LOOK;
    fork_every_point_of_parent: starting::FORK_PARENT;
    fork_every_point_of_child: starting::FORK_CHILD;
    spawn_every_point_of_parent: starting::SPAWN_PARENT;
    spawn_every_point_of_child: starting::SPAWN_CHILD;
    forkserver_every_point_of_asker: starting::FORKSERVER_ASKER;
    forkserver_every_point_of_server: starting::FORKSERVER_SERVER;
    forkserver_every_point_of_child: starting::FORKSERVER_CHILD;
    forkserver_every_point_while_unwatched: starting::FORKSERVER_UNWATCHED;
    fork_mid_start: starting::FORK_MID_START;
    spawn_mid_start: starting::SPAWN_MID_START;
    forkserver_mid_start: starting::FORKSERVER_MID_START;
    forkserver_server_mid_start: starting::FORKSERVER_SERVER_MID_START;
    fork_mid_result: starting::FORK_MID_RESULT;
    spawn_mid_result: starting::SPAWN_MID_RESULT;
    forkserver_mid_result: starting::FORKSERVER_MID_RESULT;
    async_semaphore_every_point: asynchronous::SEMAPHORE_POINTS;
    async_condition_every_point: asynchronous::CONDITION_POINTS;
    async_queue_every_point: asynchronous::QUEUE_POINTS;
    async_joinable_queue_every_point: asynchronous::TASK_POINTS;
    async_semaphore_tasks: asynchronous::SEMAPHORE_TASKS;
    async_manager_tasks: asynchronous::MANAGER_TASKS;
    pool_every_point_of_worker: pool::WORKER_POINTS;
    pool_every_point_of_worker_of_cancelled_job: pool::CANCELLED_POINTS;
    pool_every_point_of_owner: pool::OWNER_POINTS;
    pool_worker: pool::WORKER_MOMENTS;
    pool_owner: pool::OWNER_MOMENTS;
    group_every_point_of_worker: group::WORKER_POINTS;
    group_every_point_of_owner: group::OWNER_POINTS;
    group_worker: group::WORKER_MOMENTS;
    group_owner: group::OWNER_MOMENTS;
    manager_lock_holder: manager::locks::LOCK_HOLDER;
    manager_lock_waiter: manager::locks::LOCK_WAITER;
    manager_lock_just_woken: manager::locks::LOCK_JUST_WOKEN;
    manager_lock_mid_call: manager::locks::LOCK_MID_CALL;
    manager_rlock_holder: manager::locks::RLOCK_HOLDER;
    manager_rlock_waiter: manager::locks::RLOCK_WAITER;
    manager_rlock_just_woken: manager::locks::RLOCK_JUST_WOKEN;
    manager_rlock_mid_call: manager::locks::RLOCK_MID_CALL;
    manager_semaphore_holder: manager::permits::HOLDER;
    manager_semaphore_waiter: manager::permits::WAITER;
    manager_semaphore_just_woken: manager::permits::JUST_WOKEN;
    manager_semaphore_mid_call: manager::permits::MID_CALL;
    manager_bounded_semaphore_holder: manager::permits::BOUNDED_HOLDER;
    manager_bounded_semaphore_waiter: manager::permits::BOUNDED_WAITER;
    manager_bounded_semaphore_just_woken: manager::permits::BOUNDED_JUST_WOKEN;
    manager_bounded_semaphore_mid_call: manager::permits::BOUNDED_MID_CALL;
    manager_condition_waiter: manager::meeting::CONDITION_WAITER;
    manager_condition_notifier: manager::meeting::CONDITION_NOTIFIER;
    manager_condition_just_woken: manager::meeting::CONDITION_JUST_WOKEN;
    manager_event_waiter: manager::meeting::EVENT_WAITER;
    manager_event_just_woken: manager::meeting::EVENT_JUST_WOKEN;
    manager_barrier_waiter: manager::meeting::BARRIER_WAITER;
    manager_barrier_just_woken: manager::meeting::BARRIER_JUST_WOKEN;
    manager_barrier_registered: manager::meeting::BARRIER_REGISTERED;
    manager_barrier_acting: manager::meeting::BARRIER_ACTING;
    manager_queue_mid_put: manager::queues::MID_PUT;
    manager_queue_mid_get: manager::queues::MID_GET;
    manager_queue_waiter: manager::queues::WAITER;
    manager_queue_just_woken: manager::queues::JUST_WOKEN;
    manager_queue_waiter_for_room: manager::queues::WAITER_FOR_ROOM;
    manager_joinable_queue_holder: manager::tasks::HOLDER;
    manager_joinable_queue_mid_call: manager::tasks::MID_CALL;
    manager_joinable_queue_waiter: manager::tasks::WAITER;
    manager_joinable_queue_just_woken: manager::tasks::JUST_WOKEN;
    manager_dict_mid_call: manager::values::DICT;
    manager_value_mid_call: manager::values::VALUE;
    manager_objects_mid_call: manager::values::OBJECTS;
    manager_objects_parent_at_a_point: manager::inherited::AT_POINTS;
    manager_objects_parent: manager::inherited::AT_ANY_MOMENT;
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--matrix") {
        return report::main(CELLS, std::env::args().skip(2));
    }
    runner::main(TESTS, mp::release_unused_memory)
}
