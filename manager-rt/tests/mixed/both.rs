//! A private server of each kind.

#[path = "../rabbitmq/server.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
pub(crate) mod rabbitmq;
#[path = "../redis/server.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod redis;

use std::time::Duration;

use manager_rt::{JoinableQueue, Manager};

use self::rabbitmq::{namespace, shared};

/// How long a test waits for what must happen, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis server of a test, beside the RabbitMQ server that all tests share.
pub(crate) struct Both {
    pub(crate) redis: redis::Server,
}

impl Both {
    pub(crate) fn start() -> Self {
        Self { redis: redis::Server::start(&[]) }
    }

    /// Returns the address of a namespace that no other test has.
    pub(crate) fn url(&self) -> String {
        self.url_and_namespace().0
    }

    /// Returns the same, and the namespace.
    pub(crate) fn url_and_namespace(&self) -> (String, String) {
        let space = namespace();
        (format!("{} {}", self.redis.url(&space), shared().url(&space)), space)
    }
}

/// Finds or makes a queue whose tasks are delivered three times at most.
pub(crate) fn tasks(manager: &Manager) -> JoinableQueue<u32> {
    manager.named("tasks").joinable_queue_with(0, 3).unwrap()
}
