//! The peers: other ways to have `x + 1` computed in another process.
//!
//! The crate crossmist is missing: version 1.1.2, the newest, panics in its first message when compiled by Rust 1.95.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};

const VARIABLE: &str = "PARALLEL_BENCH_CHILD";

/// Does a child's work if this process is one.
pub fn become_child() -> bool {
    let Ok(kind) = std::env::var(VARIABLE) else { return false };
    match kind.split_once(':').unwrap_or((&kind, "")) {
        ("pipes", _) => pipes_child(),
        ("ipc", server) => ipc_child(server),
        ("shared", _) => shared_child(),
        ("iceoryx2", service) => iceoryx2_child(service),
        ("bare", _) => {}
        (other, _) => panic!("{other}"),
    }
    true
}

fn child(kind: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(VARIABLE, kind);
    command
}

/// Something that answers one question at a time, or many that were asked before.
pub trait Peer: Send {
    /// Asks.
    fn ask(&mut self, x: u64);
    /// Waits for the oldest answer.
    fn answer(&mut self) -> u64;
    /// How many questions may be open.
    fn depth(&self) -> u64;
}

/// Time for each of `count` questions, spread over the peers, a thread for each.
pub fn pipelined<P: Peer>(peers: &mut [P], count: u64) -> Duration {
    let each = count / peers.len() as u64;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for peer in peers {
            scope.spawn(move || {
                let depth = peer.depth();
                for x in 0..each + depth {
                    if x >= depth {
                        assert_eq!(peer.answer(), x - depth + 1);
                    }
                    if x < each {
                        peer.ask(x);
                    }
                }
            });
        }
    });
    begun.elapsed() / count as u32
}

/// A child that reads from a pipe and writes to another.
pub struct Pipes {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    asked: Vec<u8>,
    /// Bytes that are gathered before they are written.
    bulk: usize,
    answers: std::collections::VecDeque<u64>,
}

impl Pipes {
    pub fn new() -> Self {
        let mut child = child("pipes").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child starts");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, to, from, asked: Vec::new(), bulk: 8, answers: std::collections::VecDeque::new() }
    }

    /// Many questions in one system call.
    pub fn in_bulk(mut self) -> Self {
        self.bulk = 2048;
        self
    }

    pub fn call(&mut self, x: u64) -> u64 {
        self.to.write_all(&x.to_ne_bytes()).expect("the child lives");
        let mut answer = [0; 8];
        self.from.read_exact(&mut answer).expect("the child lives");
        u64::from_ne_bytes(answer)
    }
}

impl Peer for Pipes {
    fn ask(&mut self, x: u64) {
        self.asked.extend(x.to_ne_bytes());
        if self.asked.len() >= self.bulk {
            self.to.write_all(&self.asked).expect("the child lives");
            self.asked.clear();
        }
    }
    fn answer(&mut self) -> u64 {
        if self.answers.is_empty() {
            if !self.asked.is_empty() {
                self.to.write_all(&self.asked).expect("the child lives");
                self.asked.clear();
            }
            let mut bytes = [0; 2048];
            let mut len = 0;
            while len == 0 || len % 8 != 0 {
                len += self.from.read(&mut bytes[len..]).expect("the child lives");
            }
            self.answers
                .extend(bytes[..len].chunks(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().expect("eight"))));
        }
        self.answers.pop_front().expect("it was just filled")
    }
    fn depth(&self) -> u64 {
        400
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pipes_child() {
    // Unbuffered: the standard library's own streams would copy once more.
    // SAFETY: descriptor 0 is open, and nothing else in this process uses it.
    let mut raw_in = unsafe { std::fs::File::from_raw_fd(0) };
    // SAFETY: the same for descriptor 1.
    let mut raw_out = unsafe { std::fs::File::from_raw_fd(1) };
    let mut bytes = [0; 2048];
    loop {
        let mut len = 0;
        while len == 0 || len % 8 != 0 {
            match raw_in.read(&mut bytes[len..]) {
                Ok(0) | Err(_) => std::process::exit(0),
                Ok(count) => len += count,
            }
        }
        for chunk in bytes[..len].chunks_mut(8) {
            let x = u64::from_ne_bytes((&*chunk).try_into().expect("eight"));
            chunk.copy_from_slice(&(x + 1).to_ne_bytes());
        }
        if raw_out.write_all(&bytes[..len]).is_err() {
            std::process::exit(0);
        }
    }
}

/// A child on two channels of the crate `ipc-channel`.
pub struct Ipc {
    child: Child,
    to: IpcSender<u64>,
    from: IpcReceiver<u64>,
}

impl Ipc {
    pub fn new() -> Self {
        let (server, name) = IpcOneShotServer::<(IpcSender<u64>, IpcReceiver<u64>)>::new().expect("a server starts");
        let child = child(&format!("ipc:{name}")).spawn().expect("a child starts");
        let (_, (to, from)) = server.accept().expect("the child connects");
        Self { child, to, from }
    }

    pub fn call(&mut self, x: u64) -> u64 {
        self.to.send(x).expect("the child lives");
        self.from.recv().expect("the child lives")
    }
}

impl Peer for Ipc {
    fn ask(&mut self, x: u64) {
        self.to.send(x).expect("the child lives");
    }
    fn answer(&mut self) -> u64 {
        self.from.recv().expect("the child lives")
    }
    fn depth(&self) -> u64 {
        50
    }
}

impl Drop for Ipc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ipc_child(server: &str) {
    let (their_to, my_from) = ipc::channel::<u64>().expect("a channel");
    let (my_to, their_from) = ipc::channel::<u64>().expect("a channel");
    IpcSender::connect(server.to_owned()).expect("the server waits").send((their_to, their_from)).expect("it listens");
    while let Ok(x) = my_from.recv() {
        if my_to.send(x + 1).is_err() {
            return;
        }
    }
}

/// The limit: two processes that pass a number to and fro in a shared page, spinning and yielding, never sleeping.
pub struct SharedMemory {
    child: Child,
    page: &'static [AtomicU64; 64],
}

impl SharedMemory {
    pub fn new() -> Self {
        // SAFETY: plain system calls on a name that ends in a zero.
        let descriptor = unsafe { libc::memfd_create(c"bench".as_ptr(), 0) };
        assert!(descriptor >= 0, "a memfd");
        // SAFETY: the descriptor is open.
        assert_eq!(unsafe { libc::ftruncate(descriptor, 4096) }, 0);
        let page = map(descriptor);
        // SAFETY: the descriptor is open and ours.
        let stdin = Stdio::from(unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) });
        let child = child("shared").stdin(stdin).spawn().expect("a child starts");
        Self { child, page }
    }

    pub fn call(&mut self, x: u64) -> u64 {
        // The question on one line, the answer on another; 0 is nothing.
        self.page[0].store(x + 1, Ordering::Release);
        wait(|| match self.page[16].load(Ordering::Acquire) {
            0 => None,
            answer => {
                self.page[16].store(0, Ordering::Relaxed);
                Some(answer - 1)
            }
        })
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn map(descriptor: i32) -> &'static [AtomicU64; 64] {
    // SAFETY: a new mapping of an open descriptor; no address is asked for.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, descriptor, 0)
    };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: the page stays mapped and holds atomics, for which any bytes are valid.
    unsafe { &*page.cast::<[AtomicU64; 64]>() }
}

fn wait(mut done: impl FnMut() -> Option<u64>) -> u64 {
    loop {
        for _ in 0..50 {
            if let Some(answer) = done() {
                return answer;
            }
            std::hint::spin_loop();
        }
        std::thread::yield_now();
    }
}

fn shared_child() {
    let page = map(std::io::stdin().as_raw_fd());
    // SAFETY: asks the kernel to end this process with its parent: the benchmark has no better sign of its end.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let mut idle = 0_u64;
    loop {
        match page[0].load(Ordering::Acquire) {
            0 => {
                idle += 1;
                match idle {
                    0..50 => std::hint::spin_loop(),
                    50..2000 => std::thread::yield_now(),
                    // Between its turns it must not steal from the others.
                    _ => std::thread::sleep(Duration::from_micros(50)),
                }
            }
            x => {
                idle = 0;
                page[0].store(0, Ordering::Relaxed);
                // The question x came as x + 1, the answer x + 1 goes as x + 2.
                page[16].store(x + 1, Ordering::Release);
            }
        }
    }
}

/// The limit for a new pool: this executable, four times, to its `main` and back.
pub fn four_bare_re_runs() {
    let children: Vec<Child> = (0..4).map(|_| child("bare").spawn().expect("a child starts")).collect();
    for mut child in children {
        assert!(child.wait().expect("a child of ours").success());
    }
}

/// Request and response of the crate `iceoryx2`, both sides polling.
pub struct Iceoryx2 {
    child: Child,
    client: Client,
    /// Dropped after the client.
    _files: Iceoryx2Files,
}

/// What the crate leaves behind although both sides have ended in order: a file in `/dev/shm` that counts its nodes, and folders.
struct Iceoryx2Files(String);

impl Drop for Iceoryx2Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(iceoryx2_root(&self.0));
        for file in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if file.file_name().to_string_lossy().starts_with(&self.0) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

fn iceoryx2_root(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(name)
}

type Service = iceoryx2::prelude::ipc::Service;
type Client = iceoryx2::port::client::Client<Service, u64, (), u64, ()>;

fn iceoryx2_service(
    name: &str,
) -> iceoryx2::service::port_factory::request_response::PortFactory<Service, u64, (), u64, ()> {
    use iceoryx2::prelude::{Config, FileName, LogLevel, NodeBuilder, Path, SemanticString, set_log_level};

    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.prefix = FileName::new(name.as_bytes()).expect("a prefix");
    let root = iceoryx2_root(name);
    config.global.set_root_path(&Path::new(root.as_os_str().as_encoded_bytes()).expect("a path"));
    let node = NodeBuilder::new().config(&config).create::<Service>().expect("a node");
    let name = name.try_into().expect("a name");
    node.service_builder(&name).request_response::<u64, u64>().open_or_create().expect("a service")
}

impl Iceoryx2 {
    pub fn new() -> Self {
        let name = format!("parallel-bench-{}-", std::process::id());
        let client = iceoryx2_service(&name).client_builder().create().expect("a client");
        let child = child(&format!("iceoryx2:{name}")).spawn().expect("a child starts");
        let ours = Self { child, client, _files: Iceoryx2Files(name) };
        // Until the server is there a request is lost.
        while ours.try_call(0, Duration::from_millis(20)).is_none() {}
        ours
    }

    fn try_call(&self, x: u64, limit: Duration) -> Option<u64> {
        let pending = self.client.send_copy(x).expect("there is room");
        let mut rounds = 0_u32;
        let begun = Instant::now();
        loop {
            if let Some(response) = pending.receive().expect("the service works") {
                return Some(*response);
            }
            rounds += 1;
            if rounds.is_multiple_of(1024) {
                if begun.elapsed() > limit {
                    return None;
                }
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }

    pub fn call(&self, x: u64) -> u64 {
        self.try_call(x, Duration::from_secs(10)).expect("the server lives")
    }
}

/// The request that ends the server: a process that is killed would leave files in `/dev/shm`.
const LEAVE: u64 = u64::MAX;

impl Drop for Iceoryx2 {
    fn drop(&mut self) {
        let goodbye = self.client.send_copy(LEAVE);
        if goodbye.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn iceoryx2_child(name: &str) {
    // SAFETY: asks the kernel to end this process with its parent.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let server = iceoryx2_service(name).server_builder().create().expect("a server");
    let mut idle = 0_u64;
    loop {
        match server.receive().expect("the service works") {
            Some(request) if *request == LEAVE => return,
            Some(request) => {
                idle = 0;
                let response = request.loan_uninit().expect("there is room");
                let _ = response.write_payload(*request + 1).send();
            }
            None => {
                idle += 1;
                match idle {
                    0..20_000 => std::hint::spin_loop(),
                    20_000..22_000 => std::thread::yield_now(),
                    // Between its turns it must not steal from the others.
                    _ => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        }
    }
}
