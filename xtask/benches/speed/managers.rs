//! Rows about managers: the cost of an operation on an object in a server process.
//!
//! | contestant | what it is |
//! |---|---|
//! | ours | a proxy, and the server that [`Manager::start`] makes |
//! | `raw_stream` | frames of the same lengths through a pair of stream sockets, both sides asleep until something arrives |
//! | `epoll_echo` | the same, with an event loop around the answering side |
//! | `redis` | `SET` and `GET` over Redis's local socket by a client that writes the bytes itself and sleeps in `read` |
//! | `redis_spinning` | the same client, which never sleeps |
//! | `bare` | the crate `redis` or `lapin`, with plain commands on a connection of its own |
//! | `rslock` | the crate `rslock`, locks in Redis with its own settings |
//! | `python` | `multiprocessing.Manager` |
//!
//! "Faster than Redis" means faster than that client, which sleeps in `read` as usual clients do. The library's client
//! spins where that pays off, so the row shows the spinning client as well. Clients run on CPU 0 and servers on CPU 1,
//! or all on CPU 0. Keys and values have 8 bytes.

mod contended;
mod crowds;
mod frames;
mod growth;
mod idle;
mod latency;
mod locks;
mod long_pipeline;
mod memory;
mod on_rabbitmq;
mod on_redis;
mod pipeline;
mod rabbitmq;
mod redis;
mod redis_client;
mod redis_tls;
mod round_trips;
mod strangers;
mod tcp;
mod threads;
mod turns;

use anyhow::{Context, Result};
use manager_rt::Manager;

pub(crate) use self::rabbitmq::has_rabbitmq;
pub(crate) use self::redis::has_redis;
pub(crate) use self::redis_tls::has_tls;
use crate::placement::Placement;
use crate::row::{Contestant, Pick, Row, Setup, Target, Tool, Unit};

/// The key that clients need for the servers of these rows.
const KEY: &[u8] = b"a key for measurements";
/// Room for ten million entries of a dict.
const MEMORY_BYTES: usize = 4 << 30;

type Enter = fn(&Setup) -> Result<Vec<Contestant>>;

fn row(
    name: &'static str,
    placement: Placement,
    (unit, pick): (Unit, Pick),
    target: Target,
    enter: Enter,
) -> Row {
    Row { name, placement, unit, pick, target, needs: None, enter: Box::new(enter) }
}

pub(crate) fn rows() -> Vec<Row> {
    use Placement::{Any, OneCore, TwoCores};
    let most = Target::at_most;
    let times = Target::at_most_times;
    let (micros, nanos) = ((Unit::Micros, Pick::Median), (Unit::Nanos, Pick::Median));
    let against_redis = |row: Row| Row { needs: Some(Tool::Redis), ..row };
    let mut rows = vec![
        row("manager_get", OneCore, micros, times(1.45, "raw_stream"), round_trips::get),
        row("manager_set", OneCore, micros, times(1.45, "raw_stream"), round_trips::set),
    ];
    for (placement, limit) in [(OneCore, 1.0), (TwoCores, 0.125)] {
        let target = times(limit, "redis");
        let rivals = [
            row("manager_get_vs_redis", placement, micros, target, round_trips::get_against_redis),
            row("manager_set_vs_redis", placement, micros, target, round_trips::set_against_redis),
        ];
        rows.extend(rivals.map(against_redis));
    }
    for placement in [OneCore, TwoCores] {
        let target = times(0.714, "redis_benchmark");
        let rivals = [
            row("manager_pipeline_set", placement, nanos, target, pipeline::set),
            row("manager_pipeline_get", placement, nanos, target, pipeline::get),
        ];
        rows.extend(rivals.map(against_redis));
        rows.push(row("manager_lock", placement, micros, times(1.45, "two_raw_streams"), locks::pair));
    }
    rows.extend([
        row("manager_idle_client", Any, (Unit::Kibibytes, Pick::Median), most(16.0), memory::clients),
        row("manager_list_of_million", Any, (Unit::Megabytes, Pick::Median), most(40.0), memory::list),
    ]);
    let stall = (Unit::Millis, Pick::Worst);
    let pipelined = "manager_dict_set_at_10_million_pipelined";
    rows.extend([
        row("manager_list_push_at_10_million", OneCore, nanos, times(1.25, "at_1000"), growth::list),
        row("manager_dict_set_at_10_million", OneCore, nanos, times(1.25, "at_1000"), growth::dict),
        row(pipelined, OneCore, nanos, times(1.25, "at_1000"), growth::dict_pipelined),
        row("manager_queue_put_at_10_million", OneCore, nanos, times(1.25, "at_1000"), growth::queue),
        row("manager_list_push_slowest", Any, stall, most(10.0), growth::list_slowest),
        row("manager_dict_set_slowest", Any, stall, most(10.0), growth::dict_slowest),
        row("manager_queue_put_slowest", Any, stall, most(10.0), growth::queue_slowest),
    ]);
    rows.extend([
        row("manager_longest_turn_flood", Any, stall, most(5.0), turns::flood),
        row("manager_longest_turn_event", Any, stall, most(5.0), turns::event),
        row("manager_longest_turn_semaphore", Any, stall, most(5.0), turns::semaphore),
        row("manager_longest_turn_end", Any, stall, most(5.0), turns::end),
        row("manager_longest_turn_search", Any, stall, most(5.0), turns::search),
        row("manager_longest_turn_sort", Any, stall, most(5.0), turns::sort),
    ]);
    rows.extend(beside_redis().map(|row| Row { needs: Some(Tool::Redis), ..row }));
    for placement in [Any, OneCore] {
        rows.push(row("manager_get_p99_beside_64m", placement, micros, most(1000.0), latency::beside_large));
    }
    rows.extend(over_tcp());
    rows.extend(on_redis().map(|row| Row { needs: Some(Tool::Redis), ..row }));
    rows.extend(on_rabbitmq().map(|row| Row { needs: Some(Tool::RabbitMq), ..row }));
    let percent = (Unit::Percent, Pick::Median);
    rows.extend([
        row("manager_idle", Any, percent, most(1.0), idle::server),
        row("manager_idle_with_500_waiters", Any, percent, most(1.0), idle::server_of_waiters),
        row("manager_waiters_500", Any, percent, most(5.0), idle::waiters),
    ]);
    rows
}

/// Rows about many clients, long pipelines and large values, each beside Redis on a local socket. A target of 0.769 x the
/// time means 1.3 x the operations.
fn beside_redis() -> impl Iterator<Item = Row> {
    use Placement::{Any, OneCore, TwoCores};
    let times = |limit| Target::at_most_times(limit, "redis");
    let (micros, nanos) = ((Unit::Micros, Pick::Median), (Unit::Nanos, Pick::Median));
    let (more, twice, as_soon) = (times(0.769), times(0.5), times(1.0));
    let long = [OneCore, TwoCores].into_iter().flat_map(move |placement| {
        [
            row("manager_long_pipeline_set", placement, nanos, more, long_pipeline::set),
            row("manager_long_pipeline_get", placement, nanos, twice, long_pipeline::get),
        ]
    });
    let at_most = Target::at_most(200.0);
    let many = [
        row("manager_clients_8", Any, micros, more, crowds::eight),
        row("manager_clients_8_p99", Any, micros, as_soon, crowds::eight_slow),
        row("manager_clients_64", Any, micros, more, crowds::sixty_four),
        row("manager_clients_8_of_100k", Any, micros, more, crowds::eight_large),
        row("manager_clients_8_of_100k_p99", Any, micros, as_soon, crowds::eight_large_slow),
        row("manager_threads_64_p99", Any, micros, as_soon, threads::sixty_four),
        row("manager_get_p99_beside_pipelines", Any, micros, at_most, latency::beside_pipelines),
    ];
    many.into_iter().chain(long)
}

/// Rows about managers that other hosts reach, over loopback. 0.6 x the operations are 1.667 x the time, and 1.5 x the
/// operations of Redis over TLS are 0.667 x its time.
fn over_tcp() -> impl Iterator<Item = Row> {
    use Placement::{OneCore, TwoCores};
    let micros = (Unit::Micros, Pick::Median);
    let both = [OneCore, TwoCores].into_iter().flat_map(move |placement| {
        let times = |limit, name| Target::at_most_times(limit, name);
        let redis =
            row("manager_tcp_get_vs_redis", placement, micros, times(1.0, "redis"), tcp::get_against_redis);
        let tls = times(0.667, "redis_tls");
        let tls = row("manager_tcp_get_vs_redis_tls", placement, micros, tls, tcp::get_against_tls);
        [
            row("manager_tcp_get", placement, micros, times(1.5, "raw_tcp"), tcp::get),
            Row { needs: Some(Tool::Redis), ..redis },
            Row { needs: Some(Tool::RedisOverTls), ..tls },
            row("manager_tcp_pipeline_16", placement, micros, times(1.667, "local"), tcp::pipelined),
        ]
    });
    let p99 = "manager_tcp_get_p99_beside_strangers";
    both.chain([
        row("manager_tcp_connect", OneCore, micros, Target::at_most(1000.0), tcp::connecting),
        row(p99, Placement::Any, micros, Target::at_most(5000.0), strangers::get),
    ])
}

/// Rows about objects in Redis, beside a client that does the same with plain commands.
fn on_redis() -> impl Iterator<Item = Row> {
    use Placement::OneCore;
    let micros = (Unit::Micros, Pick::Median);
    let times = |limit| Target::at_most_times(limit, "bare");
    let longest = (Unit::Millis, Pick::Median);
    let third = Target::at_most_times(0.333, "rslock");
    let percent = (Unit::Percent, Pick::Median);
    let difference = Target::at_most(10.0);
    [
        row("redis_dict_get", OneCore, micros, times(1.3), on_redis::dict_get),
        row("redis_dict_set", OneCore, micros, times(1.3), on_redis::dict_set),
        row("redis_value_set", OneCore, micros, times(1.3), on_redis::value_set),
        row("redis_list_push", OneCore, micros, times(1.3), on_redis::list_push),
        row("redis_lock", OneCore, micros, times(1.6), on_redis::lock),
        row("redis_task", OneCore, micros, times(1.5), on_redis::task),
        row("redis_lock_contended", Placement::Any, micros, third, contended::time),
        row("redis_lock_contended_difference", Placement::Any, percent, difference, contended::difference),
        row("redis_death_to_next_holder", Placement::Any, longest, Target::at_most(5.0), on_redis::death),
    ]
    .into_iter()
}

/// Rows about queues in RabbitMQ, beside a client that does the same.
fn on_rabbitmq() -> impl Iterator<Item = Row> {
    use Placement::Any;
    let micros = (Unit::Micros, Pick::Median);
    let (bare, single) = (Target::at_most_times(1.3, "bare"), Target::at_most_times(0.2, "single"));
    [
        row("manager_on_rabbitmq_item", Any, micros, bare, on_rabbitmq::item),
        row("manager_on_rabbitmq_task", Any, micros, bare, on_rabbitmq::task),
        row("manager_on_rabbitmq_put_many", Any, micros, single, on_rabbitmq::put_many),
    ]
    .into_iter()
}

/// Starts a manager whose server runs on the CPU of member 1 of the row's processes. It ends with this process.
fn started(setup: &Setup) -> Result<Manager> {
    setup.cpus.pin(setup.placement, 1)?;
    let manager = Manager::builder().key(KEY).memory_bytes_max(MEMORY_BYTES).start();
    setup.cpus.pin(setup.placement, 0)?;
    manager.context("a manager could not be started")
}
