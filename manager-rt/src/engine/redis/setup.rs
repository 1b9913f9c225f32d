//! What Redis says about its settings when it is reached.

use redis::Value as Item;

use super::connection::Connection;
use crate::backend::Warning;

/// The oldest version with which this library is tested, and its first two numbers.
const TESTED_LEAST: (&str, (u32, u32)) = ("7.0", (7, 0));

/// Returns what users should know, from what Redis says about itself. What it does not permit to be read is not checked.
pub(super) fn warnings(info: Option<&str>, connection: &mut Connection) -> Vec<Warning> {
    let Some(info) = info else { return vec![Warning::Unchecked] };
    let asked = connection.ask(redis::cmd("CONFIG").arg("GET").arg("appendfsync"));
    let sync = match asked {
        Ok(Item::Array(mut pair)) => match pair.pop() {
            Some(Item::BulkString(value)) => String::from_utf8(value).ok(),
            _ => None,
        },
        _ => None,
    };
    warnings_in(info, sync.as_deref())
}

fn warnings_in(info: &str, sync: Option<&str>) -> Vec<Warning> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut found = Vec::new();
    // Without a limit of memory, no policy is ever applied.
    if field("maxmemory").is_some_and(|most| most != "0")
        && let Some(policy) = field("maxmemory_policy").filter(|policy| *policy != "noeviction")
    {
        found.push(Warning::Evicts { policy: policy.to_owned() });
    }
    match (field("aof_enabled"), sync) {
        (Some("0"), _) => found.push(Warning::NoLog),
        (Some(_), Some("no")) => found.push(Warning::LogNotSynced),
        _ => {}
    }
    // Valkey also says with which Redis it is compatible.
    if let Some(version) = field("redis_version")
        && numbers_of(version).is_some_and(|numbers| numbers < TESTED_LEAST.1)
    {
        found.push(Warning::Untested { version: version.to_owned(), least: TESTED_LEAST.0 });
    }
    found
}

fn numbers_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_something_are_found() {
        let said = |version: &str, most: &str, policy: &str, log: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\n\r\n# Memory\r\nmaxmemory:{most}\r\nmaxmemory_human:0B\r\n\
                 maxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{log}\r\n"
            )
        };
        let untested = |version: &str| Warning::Untested { version: version.to_owned(), least: "7.0" };
        let evicts = Warning::Evicts { policy: "volatile-lru".to_owned() };
        for (info, sync, expected) in [
            (said("7.0.15", "0", "noeviction", "1"), Some("everysec"), vec![]),
            (said("10.0.1", "0", "volatile-lru", "1"), None, vec![]),
            (said("7.0.0", "9", "volatile-lru", "1"), Some("always"), vec![evicts]),
            (said("7.0.0", "9", "noeviction", "0"), Some("no"), vec![Warning::NoLog]),
            (said("8.1.1", "9", "noeviction", "1"), Some("no"), vec![Warning::LogNotSynced]),
            (said("6.2.14", "0", "noeviction", "1"), None, vec![untested("6.2.14")]),
            (String::new(), None, vec![]),
        ] {
            assert_eq!(warnings_in(&info, sync), expected, "{info}");
        }
    }
}
