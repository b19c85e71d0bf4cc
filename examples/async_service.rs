//! A web service that renders in worker processes, while they are killed at random.
//!
//! `cargo run --release --features service --example async_service` starts the service, loads it from a second process for some seconds,
//! kills workers meanwhile, and prints what became of the requests: none is lost, and none is slower than its limit.
//!
//! `... --example async_service -- serve 127.0.0.1:8080` only serves; `... -- load 127.0.0.1:8080 1000` only loads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use parallel_runtime::{ProcessPool, TaskError, parallel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a renderer may take for one page, and how often it is tried again if its process dies.
static RENDERERS: ProcessPool = ProcessPool::new(2).timeout(RENDERING).retries(3);
const RENDERING: Duration = Duration::from_millis(300);

/// Of a thousand pages this one hangs.
const HANGS: u64 = 666;

/// What a request may take in all.
const LIMIT: Duration = Duration::from_secs(2);

/// A page that a library renders which is not thread-safe, and now and then crashes or hangs.
#[parallel(pool = RENDERERS, mode = "process")]
fn render(page: u64) -> String {
    let end = Instant::now() + Duration::from_micros(500 + page % 7 * 500);
    let mut checksum = page;
    while Instant::now() < end {
        checksum = checksum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    match page % 1000 {
        HANGS => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        _ => format!("<h1>Page {page}</h1><p>{checksum:x}</p>"),
    }
}

#[derive(Default)]
struct Counts {
    served: AtomicU64,
    timed_out: AtomicU64,
}

async fn page(State(counts): State<Arc<Counts>>, Path(page): Path<u64>) -> (StatusCode, String) {
    // The task is a future: no thread waits for it.
    match tokio::time::timeout(LIMIT, render::submit(page)).await {
        Ok(Ok(html)) => {
            counts.served.fetch_add(1, Ordering::Relaxed);
            (StatusCode::OK, html)
        }
        Ok(Err(error @ TaskError::TimedOut { .. })) => {
            counts.timed_out.fetch_add(1, Ordering::Relaxed);
            (StatusCode::GATEWAY_TIMEOUT, error.to_string())
        }
        // A page that hangs may meet the killer in its last try.
        Ok(Err(error @ TaskError::WorkerDied { .. })) => (StatusCode::BAD_GATEWAY, error.to_string()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many requests".to_owned()),
    }
}

async fn serve(listener: TcpListener, counts: Arc<Counts>) -> Result<(), Error> {
    let app = Router::new().route("/page/{page}", get(page)).with_state(counts);
    Ok(axum::serve(listener, app).await?)
}

/// One request, as any client makes it: the status and the body.
async fn request(connection: &mut TcpStream, page: u64) -> Result<(u16, String), Error> {
    connection.write_all(format!("GET /page/{page} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let len = connection.read(&mut piece).await?;
        answer.extend_from_slice(&piece[..len]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
                return Ok((status, body.to_owned()));
            }
        }
        if len == 0 {
            return Err("the connection was closed in the middle of an answer".into());
        }
    }
}

/// Sends requests from many connections, and prints what came of them.
async fn load(address: SocketAddr, requests: u64) -> Result<(), Error> {
    let connections = 16;
    let next = Arc::new(AtomicU64::new(0));
    let clients = (0..connections).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut connection = TcpStream::connect(address).await?;
            let mut answers = Vec::new();
            loop {
                let page = next.fetch_add(1, Ordering::Relaxed);
                if page >= requests {
                    return Ok::<_, Error>(answers);
                }
                let begun = Instant::now();
                let (status, body) = request(&mut connection, page).await?;
                let is_right = status != 200 || body.contains(&format!("<h1>Page {page}</h1>"));
                let is_expected = (page % 1000 == HANGS) != (status == 200);
                answers.push((if is_right && is_expected { status } else { 0 }, begun.elapsed()));
            }
        })
    });
    let mut answers = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        answers.extend(client.await??);
    }
    let mut times: Vec<Duration> = answers.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    let mut statuses = BTreeMap::new();
    for (status, _) in &answers {
        *statuses.entry(status).or_insert(0_u64) += 1;
    }
    let lost = requests - answers.len() as u64;
    let at = |part: f64| times.get(((times.len() - 1) as f64 * part) as usize).copied().unwrap_or_default();
    println!("{requests} requests, {lost} lost; by status: {statuses:?}");
    println!("(504: a page that hangs; 502: the same, whose worker was killed in its last try)");
    println!("median {:.1?}, 99 % {:.1?}, slowest {:.1?}", at(0.5), at(0.99), at(1.0));
    let expected = |status: &u16| [200, 502, 504].contains(status);
    if lost == 0 && at(1.0) <= LIMIT && statuses.keys().all(|status| expected(status)) {
        Ok(())
    } else {
        Err("a request was lost, wrong, or slower than its limit".into())
    }
}

/// Kills a worker every now and then, as a bug in a library would.
fn kill_at_random(stop: &AtomicBool) -> u64 {
    let (mut killed, mut random) = (0, 42_u64);
    while !stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(100 + (random >> 33) % 300));
        let pids = RENDERERS.worker_pids();
        if let Some(pid) = pids.get((random >> 40) as usize % pids.len().max(1)) {
            // SAFETY: `kill` has no preconditions; the process is a worker of ours.
            killed += u64::from(unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) } == 0);
        }
    }
    killed
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", address] => return serve(TcpListener::bind(address).await?, Arc::default()).await,
        ["load", address, requests] => return load(address.parse()?, requests.parse()?).await,
        _ => {}
    }
    let requests = arguments.first().map_or(Ok(3000), |requests| requests.parse::<u64>())?;

    RENDERERS.start()?;
    let (counts, stop) = (Arc::<Counts>::default(), Arc::new(AtomicBool::new(false)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, Arc::clone(&counts)));
    let killer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || kill_at_random(&stop)
    });
    let mut client = Command::new(std::env::current_exe()?);
    client.args(["load", &address.to_string(), &requests.to_string()]).stdin(Stdio::null());
    let client = tokio::task::spawn_blocking(move || client.status()).await??;
    stop.store(true, Ordering::Relaxed);
    let killed = killer.join().unwrap_or(0);
    let (served, timed_out) = (counts.served.load(Ordering::Relaxed), counts.timed_out.load(Ordering::Relaxed));
    println!("{served} pages served, {timed_out} hung and were ended, {killed} workers killed meanwhile");
    println!("{}", RENDERERS.stats());
    if client.success() { Ok(()) } else { Err("the client is not content".into()) }
}
