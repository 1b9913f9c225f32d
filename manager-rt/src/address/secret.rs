//! Passwords in addresses.

/// Returns an address without the password of its user.
pub(crate) fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    let Some((user, host)) = authority.rsplit_once('@') else { return address.to_owned() };
    match user.split_once(':') {
        Some(("", _)) => format!("{scheme}://{host}{path}"),
        Some((user, _)) => format!("{scheme}://{user}@{host}{path}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_password_and_nothing_else() {
        for (address, expected) in [
            ("redis://ann:secret@host:6379/0?ns=app", "redis://ann@host:6379/0?ns=app"),
            ("redis://:secret@host", "redis://host"),
            ("amqp://ann:se:cr@et@host/vhost", "amqp://ann@host/vhost"),
            ("redis://host:6379/a@b:c", "redis://host:6379/a@b:c"),
            ("redis://ann@host", "redis://ann@host"),
            ("mp+unix:/run/a:b@c", "mp+unix:/run/a:b@c"),
        ] {
            assert_eq!(without_password(address), expected);
        }
    }
}
