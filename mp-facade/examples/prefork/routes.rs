//! What the server answers.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderValue,
};
use hyper::header::{RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::connection::Hand;
use crate::limiter::Verdict;
use crate::limits::{JOB_LOOK_EVERY, JOB_WAIT_MAX, SLOW_MAX};
use crate::records::{Access, Job};
use crate::sessions::{self, Visit};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::status;
use crate::table::{Field, Row};

/// What a worker has for its requests.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Settings,
    pub(crate) row: Row,
    pub(crate) pid: u32,
    pub(crate) stopping: watch::Receiver<bool>,
}

type Reply = Response<Full<Bytes>>;

/// Answers one request.
pub(crate) async fn answer(
    worker: Arc<Worker>,
    hand: Arc<Hand>,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    hand.begin();
    let mut reply = route(&worker, client, &request).await;
    let headers = reply.headers_mut();
    headers.insert("x-worker", worker.pid.into());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if *worker.stopping.borrow() {
        // The client's next request goes to another worker.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    hand.reply();
    Ok(reply)
}

async fn route(worker: &Arc<Worker>, client: IpAddr, request: &Request<Incoming>) -> Reply {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match request.uri().path() {
        "/status" => fixed("text/html; charset=utf-8", status::PAGE),
        "/status.css" => fixed("text/css; charset=utf-8", status::STYLE),
        "/status.js" => fixed("text/javascript; charset=utf-8", status::SCRIPT),
        "/status.json" => status_json(worker).await,
        path @ ("/" | "/slow" | "/session") => {
            let verdict = worker.shared.limiter.take(client, worker.shared.now(), worker.settings.rule());
            if let Verdict::Limited(wait) = verdict {
                worker.row.add(Field::Limited, 1);
                return limited(wait);
            }
            match path {
                "/session" => session(worker, request).await,
                "/slow" => {
                    sleep(delay(request.uri().query())).await;
                    hit(worker, path).await
                }
                _ => hit(worker, path).await,
            }
        }
        _ => text(StatusCode::NOT_FOUND, "there is no such page\n"),
    }
}

/// Counts a hit, leaves its record to the background processes, and answers with its number.
async fn hit(worker: &Arc<Worker>, path: &str) -> Reply {
    let begin = Instant::now();
    let shared = &worker.shared;
    // A hit that counts is recorded, so there has to be room first.
    while shared.jobs.is_full() {
        if begin.elapsed() > JOB_WAIT_MAX {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many records wait to be written\n");
        }
        sleep(JOB_LOOK_EVERY).await;
    }
    let Ok(before) = shared.hits.update(|hits| hits + 1) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the hit could not be counted\n");
    };
    let number = before + 1;
    let access = Access {
        number,
        at_ms: shared.now_ms(),
        pid: worker.pid,
        micros: u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX),
        path: path.to_owned(),
    };
    if shared.is_sweep_due() {
        // If there is no room, another one comes in a minute.
        drop(shared.jobs.try_put(&Job::Sweep));
    }
    // Another worker may have taken the room since. The background processes soon make more, so blocking is fine.
    if shared.jobs.put_timeout(&Job::Record(access), JOB_WAIT_MAX).is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the hit could not be recorded\n");
    }
    let mut reply = text(StatusCode::OK, format!("{}\nhit {number}\n", worker.settings.greeting));
    reply.headers_mut().insert("x-hit", number.into());
    reply
}

/// Counts a visit of a client that has a cookie, and gives a cookie to one that has none.
async fn session(worker: &Arc<Worker>, request: &Request<Incoming>) -> Reply {
    let cookies = request.headers().get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let id = cookies.filter_map(sessions::cookie).next().map(str::to_owned);
    let shared = Arc::clone(&worker.shared);
    // A call waits for the server of the sessions, so it does not run on the thread that serves the other connections.
    let visit = tokio::task::spawn_blocking(move || shared.sessions.visit(id.as_deref(), shared.now()));
    match visit.await {
        Ok(Ok(Visit::Known(visits))) => text(StatusCode::OK, format!("visit {visits}\n")),
        Ok(Ok(Visit::New(id))) => {
            let mut reply = text(StatusCode::OK, "visit 1\n");
            let cookie = format!("{}={id}; Path=/; HttpOnly; SameSite=Lax", sessions::COOKIE);
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                reply.headers_mut().insert(SET_COOKIE, cookie);
            }
            reply
        }
        Ok(Ok(Visit::Full)) => text(StatusCode::SERVICE_UNAVAILABLE, "there are too many sessions\n"),
        Ok(Err(error)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("no sessions: {error:#}\n")),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the session could not be read\n"),
    }
}

async fn status_json(worker: &Arc<Worker>) -> Reply {
    let shared = Arc::clone(&worker.shared);
    // It asks the server of the sessions.
    match tokio::task::spawn_blocking(move || status::json(&shared)).await {
        Ok(Ok(mut json)) => {
            json.push(b'\n');
            let mut reply = fixed("application/json", "");
            *reply.body_mut() = json.into();
            reply
        }
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the status could not be read\n"),
    }
}

fn limited(wait: Duration) -> Reply {
    let mut reply = text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    reply.headers_mut().insert(RETRY_AFTER, seconds.into());
    reply
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

/// A part of the status page. The page loads nothing from anywhere else, and nothing that somebody slips into it runs.
fn fixed(kind: &'static str, body: &'static str) -> Reply {
    let mut reply = text(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy =
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    reply
}

/// `ms=N` of a query, at most [`SLOW_MAX`].
fn delay(query: Option<&str>) -> Duration {
    let millis = query.and_then(|query| query.strip_prefix("ms=")?.parse().ok());
    millis.map_or(Duration::from_millis(100), Duration::from_millis).min(SLOW_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_has_a_limit() {
        assert_eq!(delay(Some("ms=20")), Duration::from_millis(20));
        assert_eq!(delay(Some("ms=5000")), SLOW_MAX);
        assert_eq!(delay(Some("ms=5001")), SLOW_MAX);
        for query in [None, Some(""), Some("ms=-1"), Some("ms=99999999999999999999999"), Some("s=1")] {
            assert_eq!(delay(query), Duration::from_millis(100));
        }
    }
}
