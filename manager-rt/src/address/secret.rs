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

/// Returns what an error shows of a text that is not an address: nothing that may be a password, wherever it stands.
pub(crate) fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match (text.split_once(':'), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}:…@{rest}"),
        _ => text.to_owned(),
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

    #[test]
    fn an_error_shows_no_password_in_any_place() {
        for (text, expected) in [
            ("rediss://:secret@host", "rediss:…@host"),
            ("redis://ann:se/secret@host", "redis:…@host"),
            ("redis+unix:///run/r.sock?pass=secret", "redis+unix:///run/r.sock"),
            ("http://host/a", "http://host/a"),
            ("text", "text"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
