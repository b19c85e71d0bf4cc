//! The bridge: a Python program that speaks to the cluster, because Dask's own client is the only way there that its authors keep.

use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::wire::{self, Put, Take, to_bridge, to_program};
use crate::shared::blob;
use crate::sys::child::in_group_of_its_own;
use crate::sys::{image, privilege};

/// The Python interpreter, unless `PARALLEL_PYTHON` names another.
const PYTHON: &str = "python3";

/// The bridge, and what it brings to the workers of the cluster.
const BRIDGE: &str = include_str!("bridge.py");
const NODE: &str = include_str!("node.py");

/// Reads the bridge from its input and runs it. A file of the directory that the program was started in is not taken for a module.
const BOOT: &str = "import sys\n\
    sys.path[:] = [path for path in sys.path if path]\n\
    source = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))\n\
    exec(compile(source, 'parallel-bridge.py', 'exec'))";

/// How long a bridge may take to leave the cluster.
const LEAVING: Duration = Duration::from_secs(5);

/// What is sent to the bridge.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) head: Vec<u8>,
    /// Comes after the head, whose length then stands before it.
    pub(super) body: Vec<u8>,
}

/// Who hears what a bridge says.
pub(super) trait Listener: Send + 'static {
    /// It is connected: so many threads and workers there are.
    fn connected(&self, threads: usize, workers: usize);

    /// It says something. False if it has left, or was lost.
    fn receive(&self, generation: u64, kind: u8, frame: &[u8]) -> bool;

    /// It has ended without a word.
    fn bridge_died(&self, generation: u64);
}

/// A bridge that is connected.
pub(super) struct Bridge {
    /// Which of the bridges of this program.
    pub(super) generation: u64,
    frames: Sender<Frame>,
    /// It is gone, or about to: set before the engine is told.
    dead: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Bridge {
    /// Starts one and has it connect.
    ///
    /// # Errors
    ///
    /// Why it cannot, and what can be done about it.
    pub(super) fn start(listener: impl Listener, pool: u64, address: &str, limit: Duration) -> Result<Self, String> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        if !super::node::hook::is_linked() {
            return Err("the start-up hook of a node was not linked".to_owned());
        }
        privilege::check().map_err(|error| error.to_string())?;
        let executable = image::path_for_others().map_err(|error| format!("the executable cannot be sent: {error}"))?;
        let python = privilege::variable("PARALLEL_PYTHON").filter(|python| !python.is_empty());
        let python = python.unwrap_or_else(|| OsString::from(PYTHON));
        // Which `python3` the path finds, its user says.
        let mut command = Command::new(&python);
        command.args(["-c", BOOT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for the program: the bridge leaves when the program does.
        let mut child = in_group_of_its_own(&mut command).spawn().map_err(|error| {
            let python = python.display();
            format!("{python} cannot be started ({error}): install Python 3, or name an interpreter in PARALLEL_PYTHON")
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the bridge has no pipes".to_owned());
        };
        let (frames, to_write) = channel();
        let spawned =
            std::thread::Builder::new().name("parallel-to-bridge".to_owned()).spawn(move || write(input, &to_write));
        spawned.map_err(|error| format!("a thread cannot be started: {error}"))?;
        let mut output = BufReader::with_capacity(1 << 16, output);
        let _ = frames.send(connect(pool, address, &executable, limit));
        let (threads, workers) = match wire::read(&mut output) {
            Ok(Some((to_program::READY, frame))) => {
                let mut frame = Take(&frame);
                (frame.u64().unwrap_or(0), frame.u64().unwrap_or(0))
            }
            other => {
                drop(frames);
                let _ = child.wait();
                return Err(match other {
                    Ok(Some((to_program::GONE, frame))) => Take(&frame).text().unwrap_or_default(),
                    _ => format!("{} ended before it was connected: see what it has printed", python.display()),
                });
            }
        };
        listener.connected(threads as usize, workers as usize);
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        let (tell, ended) = channel();
        let dead = Arc::<AtomicBool>::default();
        let theirs = Arc::clone(&dead);
        let spawned = std::thread::Builder::new().name("parallel-from-bridge".to_owned()).spawn(move || {
            read(&listener, generation, output, child, &theirs);
            let _ = tell.send(());
        });
        spawned.map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Self { generation, frames, dead, ended })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Sends it a frame. If it is gone, that is seen elsewhere.
    pub(super) fn send(&self, frame: Frame) {
        let _ = self.frames.send(frame);
    }

    /// Has it leave the cluster, and waits until it has.
    pub(super) fn leave(self) {
        drop(self.frames);
        let _ = self.ended.recv_timeout(LEAVING);
    }
}

/// What the bridge needs to know first.
fn connect(pool: u64, address: &str, executable: &str, limit: Duration) -> Frame {
    let mut head = Put::default();
    head.text(address).text(executable).text(&format!("{}_{pool}", blob::program())).text(NODE);
    head.u64(limit.as_millis() as u64).text(super::node::hook::VARIABLE);
    Frame { kind: to_bridge::CONNECT, head: head.0, body: Vec::new() }
}

/// Writes frames until there will be no more.
fn write(mut input: ChildStdin, frames: &Receiver<Frame>) {
    let source = BRIDGE.as_bytes();
    if writeln!(input, "{}", source.len()).and_then(|()| input.write_all(source)).is_err() {
        return;
    }
    for Frame { kind, head, body } in frames {
        let len = if body.is_empty() { head.len() } else { 8 + head.len() + body.len() };
        let mut first = wire::head(kind, len).to_vec();
        if !body.is_empty() {
            first.extend_from_slice(&(head.len() as u64).to_le_bytes());
        }
        first.extend_from_slice(&head);
        if input.write_all(&first).and_then(|()| input.write_all(&body)).is_err() {
            return;
        }
    }
}

/// Reads frames until the bridge ends.
fn read(
    listener: &impl Listener,
    generation: u64,
    mut output: BufReader<ChildStdout>,
    mut child: Child,
    dead: &AtomicBool,
) {
    let mut told = false;
    while let Ok(Some((kind, frame))) = wire::read(&mut output) {
        dead.store(kind == to_program::GONE, Ordering::SeqCst);
        if !listener.receive(generation, kind, &frame) {
            told = true;
            break;
        }
    }
    drop(output);
    dead.store(true, Ordering::SeqCst);
    let _ = child.wait();
    if !told {
        listener.bridge_died(generation);
    }
}
