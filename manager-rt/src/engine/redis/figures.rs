//! The figures of a Redis server, as a server of this library has them.
//!
//! Redis knows connections, and not which processes they belong to. So a report has no clients and no waiting calls, but what the objects know of those.

use std::time::Duration;

use redis::Value as Item;

use super::Redis;
use super::report;
use crate::backend::CallError;
use crate::proto::{Info, ManagerOp, Op, Payload, Raw, Reply};
use crate::report::ServerReport;

impl Redis {
    /// Returns what a report says about the server and its clients, or `None` if that is not the question.
    pub(super) fn figures(&self, op: &Op<Raw<'_>>) -> Option<Result<Reply<Payload>, CallError>> {
        match op {
            Op::Manager(ManagerOp::Server) => Some(self.server()),
            Op::Manager(ManagerOp::Clients { .. }) => {
                Some(Ok(Reply::Clients { clients: Vec::new(), next: None }))
            }
            Op::Manager(ManagerOp::Waits { .. }) => Some(Ok(Reply::Waits { waits: Vec::new(), next: None })),
            _ => None,
        }
    }

    fn server(&self) -> Result<Reply<Payload>, CallError> {
        let Item::BulkString(text) = self.link.ask(&redis::cmd("INFO"))? else {
            return Err(CallError::Protocol);
        };
        let info = self.command(crate::proto::ObjectId::MANAGER, Op::Manager(ManagerOp::Info))?;
        let info = info.ok_or(CallError::Protocol)?;
        let Ok(Reply::Info(info)) = self.link.run(&info)? else { return Err(CallError::Protocol) };
        let said = String::from_utf8_lossy(&text);
        Ok(Reply::Server(Box::new(server_in(&said, &info, self.held()?))))
    }

    /// Returns how many locks and permits are held.
    fn held(&self) -> Result<u64, CallError> {
        let (mut held, mut from) = (0_u64, 0);
        loop {
            let Ok(Reply::Objects { objects, next }) =
                self.link.run(&report::objects(&self.keys, from, true))?
            else {
                return Err(CallError::Protocol);
            };
            held = objects.iter().fold(held, |held, object| held.saturating_add(object.held));
            match next {
                Some(next) => from = next,
                None => return Ok(held),
            }
        }
    }
}

fn server_in(said: &str, info: &Info, held: u64) -> ServerReport {
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = |name: &str| field(name).and_then(|value| value.trim().parse::<u64>().ok());
    let none = |number: Option<u64>| number.unwrap_or_default();
    // Without a limit, Redis takes what the machine has.
    let memory_max = number("maxmemory").filter(|most| *most > 0).or_else(|| number("total_system_memory"));
    // Valkey also says with which Redis it is compatible.
    let version = field("valkey_version").or_else(|| field("redis_version")).unwrap_or_default();
    ServerReport {
        version: version.trim().to_owned(),
        pid: u32::try_from(none(number("process_id"))).unwrap_or_default(),
        uptime: Duration::from_secs(none(number("uptime_in_seconds"))),
        memory_used: none(number("used_memory")),
        memory_max: none(memory_max),
        clients: none(number("connected_clients")),
        clients_max: none(number("maxclients")),
        objects: info.objects,
        waiters: info.waiters,
        held,
        operations: none(number("total_commands_processed")),
        failed_saves: 0,
        last_save: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_among_other_lines() {
        let said = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.1\r\nprocess_id:77\r\nuptime_in_seconds:5\r\n\
                    used_memory:900\r\nused_memory_peak:901\r\ntotal_system_memory:5000\r\nmaxmemory:0\r\n\
                    connected_clients:3\r\nmaxclients:10000\r\ntotal_commands_processed:12\r\n";
        let report = server_in(said, &Info::new().objects(4).waiters(2), 1);
        assert_eq!((&*report.version, report.pid, report.uptime), ("8.1.1", 77, Duration::from_secs(5)));
        assert_eq!((report.memory_used, report.memory_max), (900, 5000));
        assert_eq!((report.clients, report.clients_max, report.operations), (3, 10_000, 12));
        assert_eq!((report.objects, report.waiters, report.held), (4, 2, 1));
        let limited = said.replace("maxmemory:0", "maxmemory:950").replace("valkey_version", "other");
        let report = server_in(&limited, &Info::new(), 0);
        assert_eq!((&*report.version, report.memory_max), ("7.2.4", 950));
    }
}
