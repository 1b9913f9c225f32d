//! The engines that run operations without a server of this crate.

#[cfg(feature = "server")]
mod in_process;
#[cfg(any(feature = "rabbitmq", feature = "redis"))]
mod keeper;
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
mod mixed;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "rabbitmq", feature = "redis"))]
mod stored;
#[cfg(any(feature = "rabbitmq-tls", feature = "redis-tls"))]
mod trust;

#[cfg(feature = "server")]
pub use self::in_process::InProcess;
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
pub(crate) use self::mixed::Mixed;
#[cfg(feature = "rabbitmq")]
pub(crate) use self::rabbitmq::{NotReached, RabbitMq};
#[cfg(feature = "redis")]
pub use self::redis::Redis;
#[cfg(feature = "redis")]
pub(crate) use self::redis::Unreachable;
