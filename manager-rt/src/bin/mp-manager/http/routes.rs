//! What each path answers, to whom, and with which headers.
//!
//! Nothing can be changed here, and nothing comes from elsewhere. The page has no password, so a web site that the user visits
//! must not read it: a browser sends the name of the site as `Host`, even if the site's name leads to this address (DNS
//! rebinding). So only addresses, `localhost`, and the names that the user has permitted are answered.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode, Uri};

use crate::http::source::Source;
use crate::http::{metrics, page};

/// The browser loads nothing but this page's own style and script, and sends nothing anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

type Reply = Response<Full<Bytes>>;

/// The page and whom it answers.
pub(super) struct Site {
    /// Names of this host that may stand in `Host`.
    names: Vec<String>,
    source: Arc<Source>,
}

impl Site {
    pub(super) fn new(names: Vec<String>, source: Source) -> Self {
        Self { names, source: Arc::new(source) }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Result<Reply, Infallible> {
        let mut reply = self.route(request.method(), request.uri(), request.headers()).await;
        let headers = reply.headers_mut();
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
            (RESOURCE_POLICY, "same-origin"),
            (CACHE_CONTROL, "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(reply)
    }

    async fn route(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Reply {
        if !is_of_this_host(uri, headers, &self.names) {
            return reply(
                StatusCode::MISDIRECTED_REQUEST,
                TEXT,
                "this is not a name of this host; use its address, or permit the name by --http-name\n",
            );
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match uri.path() {
            "/" => self.show(HTML, page::page).await,
            "/page.css" => reply(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
            "/page.js" => reply(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT),
            "/metrics" => self.show(metrics::CONTENT_TYPE, metrics::metrics).await,
            "/healthz" => self.show(TEXT, |_| "ok\n".to_owned()).await,
            _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /, /metrics and /healthz\n"),
        }
    }

    /// Shows the newest sample.
    async fn show(&self, kind: &'static str, text: impl Fn(&crate::http::source::Sample) -> String) -> Reply {
        match self.source.latest().await {
            Ok(sample) => reply(StatusCode::OK, kind, text(&sample)),
            Err(error) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error}\n")),
        }
    }
}

fn reply(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Returns `true` if a request names this host: by an address, as `localhost`, or by a name that was permitted.
fn is_of_this_host(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    // The whole URL of a request to a proxy has a host of its own.
    uri.authority().is_none_or(|authority| authority.as_str() == host) && is_permitted(host, names)
}

fn is_permitted(host: &str, names: &[String]) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port.strip_prefix(':')));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_known = |known: &str| known.eq_ignore_ascii_case(name);
    let is_named =
        name.parse::<Ipv4Addr>().is_ok() || is_known("localhost") || names.iter().any(|name| is_known(name));
    is_named && (port.is_none() || is_port(port))
}

fn is_port(port: Option<&str>) -> bool {
    port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_answered(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        is_of_this_host(&Uri::from_static("/"), &headers, &["jobs.example".to_owned()])
    }

    #[test]
    fn addresses_and_permitted_names_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7001",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:7001",
            "localhost",
            "LocalHost:7001",
            "jobs.example",
            "JOBS.example:1",
        ] {
            assert!(is_answered(host), "{host}");
        }
    }

    #[test]
    fn names_of_web_sites_are_not_answered() {
        for host in [
            "",
            "evil.example",
            "evil.example:7001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:7001.evil.example",
            "127.1",
            "2130706433",
            "0x7f.1",
            "jobs.example.evil.example",
            "xjobs.example",
            "localhost:",
            "localhost:+1",
            "localhost:65536",
            "localhost:1:2",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[evil.example]",
            "user@localhost",
        ] {
            assert!(!is_answered(host), "{host}");
        }
    }

    #[test]
    fn a_request_needs_exactly_one_host() {
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static("/");
        assert!(!is_of_this_host(&uri, &headers, &[]), "none");
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert!(is_of_this_host(&uri, &headers, &[]));
        let elsewhere = Uri::from_static("http://evil.example/");
        assert!(!is_of_this_host(&elsewhere, &headers, &[]), "another one in the first line");
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_of_this_host(&uri, &headers, &[]), "two");
        headers.clear();
        headers.append(HOST, HeaderValue::from_bytes(b"localhost\xff").unwrap());
        assert!(!is_of_this_host(&uri, &headers, &[]), "not text");
    }
}
