//! Which requests are answered, and with what: HTTP/1.1, one request on each connection.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Request, Status};

use super::events;
use crate::sys::processes;

/// The most connections at a time. Further ones are closed.
const MOST: usize = 16;

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest request, in bytes.
const LONGEST: usize = 8 << 10;

/// The pause after a connection could not be accepted: there may be no descriptor left.
const PAUSE: Duration = Duration::from_millis(200);

/// The page needs nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

/// Serves the page from now on, on threads of its own.
pub(super) fn start(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    std::thread::Builder::new().name("parallel-dash".to_owned()).spawn(move || accept(listener, address)).map(drop)
}

fn accept(listener: TcpListener, address: SocketAddr) {
    let connections = Arc::new(AtomicUsize::new(0));
    // A program that closes all descriptors closes this one, and may then listen under its number.
    while listener.local_addr().is_ok_and(|local| local == address) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        let connection = Connection::new(&connections);
        if connections.load(Ordering::Relaxed) > MOST
            || stream.local_addr().is_ok_and(|local| local.port() != address.port())
        {
            continue;
        }
        // Without a thread the connection is closed. What becomes of it the browser sees.
        let _ = std::thread::Builder::new().name("parallel-dash".to_owned()).spawn(move || {
            let _connection = connection;
            _ = serve(stream, address);
        });
    }
    std::mem::forget(listener);
}

/// Counts as long as it lives.
struct Connection(Arc<AtomicUsize>);

impl Connection {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let (mut head, mut part) = (Vec::new(), [0; 2048]);
    loop {
        let len = stream.read(&mut part)?;
        head.extend_from_slice(&part[..len]);
        let mut headers = [EMPTY_HEADER; 64];
        let mut request = Request::new(&mut headers);
        let answer = match request.parse(&head) {
            Ok(Status::Complete(_)) => answer(address, &request),
            Ok(Status::Partial) if len > 0 && head.len() < LONGEST => continue,
            _ => refuse("400 Bad Request", "this is not a request of HTTP/1.1"),
        };
        return stream.write_all(&answer.into_bytes());
    }
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn into_bytes(self) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\ncontent-security-policy: {POLICY}\r\n\
             x-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

fn answer(address: SocketAddr, request: &Request<'_, '_>) -> Answer {
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    if !is_ours(address, header("host").unwrap_or_default()) || header("sec-fetch-site") == Some("cross-site") {
        return refuse("403 Forbidden", "this is not the dashboard's address");
    }
    if request.method != Some("GET") {
        return refuse("405 Method Not Allowed", "only GET is answered");
    }
    let path = request.path.unwrap_or_default();
    let (kind, body) = match path.split_once('?').map_or(path, |(path, _)| path) {
        "/" => ("text/html; charset=utf-8", events::page()),
        "/events" => ("text/event-stream", events::event(header("last-event-id").and_then(|id| id.parse().ok()))),
        _ => return refuse("404 Not Found", "there is `/`, and `/events`"),
    };
    match body {
        Ok(body) => Answer { status: "200 OK", kind, body },
        Err(error) => refuse("500 Internal Server Error", &error.to_string()),
    }
}

/// Whether a request is meant for this server. A page of another site can have its own name stand for this machine's address, and would then read
/// what only the users of this machine may: its requests carry its name.
fn is_ours(address: SocketAddr, host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    match ip {
        Some(ip) => ip == address.ip() || (!address.ip().is_loopback()),
        None => name == "localhost" || (!address.ip().is_loopback() && name == processes::host()),
    }
}

fn refuse(status: &'static str, why: &str) -> Answer {
    Answer { status, kind: "text/plain; charset=utf-8", body: format!("{why}\n").into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(address: &str, request: &str) -> (&'static str, &'static str) {
        let mut headers = [EMPTY_HEADER; 8];
        let mut parsed = Request::new(&mut headers);
        assert!(parsed.parse(request.as_bytes()).unwrap().is_complete());
        let answer = answer(address.parse().unwrap(), &parsed);
        (answer.status, answer.kind)
    }

    #[test]
    fn a_request_by_another_name_is_refused() {
        let status =
            |address: &str, host: &str| answered(address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).0;
        for host in ["127.0.0.1:8787", "localhost:8787", "localhost", "127.0.0.1"] {
            assert_eq!(status("127.0.0.1:8787", host), "200 OK", "{host}");
        }
        assert_eq!(status("[::1]:8787", "[::1]:8787"), "200 OK");
        for host in ["example.org:8787", "example.org", "localhost.example.org:8787", "10.0.0.1", ""] {
            assert_eq!(status("127.0.0.1:8787", host), "403 Forbidden", "{host}");
        }
        // Other machines know this one by its addresses, or its name.
        for host in ["10.0.0.1:8787", "localhost:8787", &processes::host()] {
            assert_eq!(status("0.0.0.0:8787", host), "200 OK", "{host}");
        }
        assert_eq!(status("0.0.0.0:8787", "example.org:8787"), "403 Forbidden");
        let cross = "GET /events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n";
        assert_eq!(answered("127.0.0.1:8787", cross).0, "403 Forbidden");
    }

    #[test]
    fn what_is_not_there_is_said_to_be_missing() {
        let request = |method: &str, path: &str| {
            answered("127.0.0.1:8787", &format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        };
        assert_eq!(request("GET", "/other").0, "404 Not Found");
        assert_eq!(request("POST", "/").0, "405 Method Not Allowed");
        assert_eq!(request("GET", "/events?again"), ("200 OK", "text/event-stream"));
    }
}
