//! Which requests are answered, and with what.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use oxhttp::Server;
use oxhttp::model::{Body, HeaderMap, Method, Request, Response, StatusCode, header};

use super::events;

/// The most connections at a time.
const MOST: usize = 16;

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// The page needs nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

/// Serves the page from now on, on threads of its own.
pub(super) fn start(address: SocketAddr) -> io::Result<()> {
    let server = Server::new(move |request| answer(address, request));
    // It serves until the program ends.
    server.bind(address).with_global_timeout(PATIENCE).with_max_concurrent_connections(MOST).spawn().map(drop)
}

fn answer(address: SocketAddr, request: &Request<Body>) -> Response<Body> {
    if !is_ours(address, request.headers()) {
        return refuse(StatusCode::FORBIDDEN, "this name is not the dashboard's");
    }
    if *request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered");
    }
    let (kind, body) = match request.uri().path() {
        "/" => ("text/html; charset=utf-8", events::page()),
        "/events" => {
            let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
            ("text/event-stream", events::event(last))
        }
        _ => return refuse(StatusCode::NOT_FOUND, "there is `/`, and `/events`"),
    };
    match body {
        Ok(body) => respond(StatusCode::OK, kind, body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Whether a request is meant for this server. A page of another site can have its own name stand for this machine's address, and would then read
/// what only this machine's users may: its requests carry its name.
fn is_ours(address: SocketAddr, headers: &HeaderMap) -> bool {
    if !address.ip().is_loopback() {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || host.parse() == Ok(address) || name.parse() == Ok(address.ip())
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", format!("{why}\n").into_bytes())
}

fn respond(status: StatusCode, kind: &str, body: Vec<u8>) -> Response<Body> {
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response.body(Body::from(body)).expect("the headers are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_by_another_name_is_refused_on_this_machines_own_address() {
        let answered = |address: &str, host: &str| {
            let request = Request::builder().uri("/").header(header::HOST, host).body(Body::empty()).unwrap();
            answer(address.parse().unwrap(), &request).status()
        };
        for host in ["127.0.0.1:8787", "localhost:8787", "localhost", "127.0.0.1"] {
            assert_eq!(answered("127.0.0.1:8787", host), StatusCode::OK, "{host}");
        }
        assert_eq!(answered("[::1]:8787", "[::1]:8787"), StatusCode::OK);
        for host in ["example.org:8787", "example.org", "localhost.example.org:8787", ""] {
            assert_eq!(answered("127.0.0.1:8787", host), StatusCode::FORBIDDEN, "{host}");
        }
        assert_eq!(answered("0.0.0.0:8787", "machine.example.org:8787"), StatusCode::OK);
    }

    #[test]
    fn what_is_not_there_is_said_to_be_missing() {
        let address: SocketAddr = "127.0.0.1:8787".parse().unwrap();
        let request = |method: Method, path: &str| {
            Request::builder().method(method).uri(path).header(header::HOST, "localhost").body(Body::empty()).unwrap()
        };
        assert_eq!(answer(address, &request(Method::GET, "/other")).status(), StatusCode::NOT_FOUND);
        assert_eq!(answer(address, &request(Method::POST, "/")).status(), StatusCode::METHOD_NOT_ALLOWED);
        let events = answer(address, &request(Method::GET, "/events"));
        assert_eq!(events.headers()[header::CONTENT_TYPE], "text/event-stream");
    }
}
