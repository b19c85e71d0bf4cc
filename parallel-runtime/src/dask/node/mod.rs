//! The side of a Dask worker: this executable, run as a *node*.
//!
//! A node is the process engine without a program. It reads parcels from its standard input, runs their letters on its own worker
//! processes, and writes the replies to its standard output. It ends when its input does.

pub(super) mod hook;
mod letters;
mod run;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::letter;
use super::wire::{self, Put, Take, question, to_node};
use crate::options::{CallOptions, WorkerKey, WorkerOptions};
use crate::process::Engine;
use crate::sys::exit;
use letters::{Letters, Parcel, SentPiece};
use run::Running;

/// What a node says first.
const HELLO: u8 = 0;

/// Everything that a node does.
fn main(workers: usize) -> ! {
    let code = match run(workers.max(1)) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "parallel-runtime: a node has ended: {error}");
            1
        }
    };
    exit::now(code)
}

struct Node {
    output: Mutex<File>,
    workers: usize,
    letters: Mutex<Letters>,
    /// How long an item of a function takes, in nanoseconds.
    rates: Mutex<HashMap<u64, f64>>,
    /// Worker processes, by what they are told.
    engines: Mutex<HashMap<WorkerKey, Arc<Engine>>>,
}

fn run(workers: usize) -> std::io::Result<()> {
    // What tasks print must not get among the frames.
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null: OwnedFd = File::open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let node: &'static Node = Box::leak(Box::new(Node {
        output: Mutex::new(File::from(output)),
        workers,
        letters: Mutex::default(),
        rates: Mutex::default(),
        engines: Mutex::default(),
    }));
    node.write(HELLO, &[]);
    let mut input = BufReader::with_capacity(1 << 16, File::from(input));
    while let Some((kind, frame)) = wire::read(&mut input)? {
        let Some(number) = Take(&frame).u64() else { continue };
        match kind {
            to_node::RUN => {
                // Here, so that a frame that drops it finds it.
                node.letters().parcels.insert(number, Parcel::default());
                let spawned = std::thread::Builder::new()
                    .name("parallel-parcel".to_owned())
                    .spawn(move || node.run_parcel(number, &frame[8..]));
                if spawned.is_err() {
                    node.letters().parcels.remove(&number);
                    node.write(to_node::RUN, Put::default().u64(number).u32(0).0.as_slice());
                }
            }
            to_node::ASK => {
                let mut answer = number.to_le_bytes().to_vec();
                answer.extend_from_slice(&node.answer(&frame[8..]));
                node.write(to_node::ASK, &answer);
            }
            to_node::DROP => node.drop_parcel(number),
            _ => {}
        }
    }
    Ok(())
}

impl Node {
    fn write(&self, kind: u8, frame: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let written = output.write_all(&wire::head(kind, frame.len())).and_then(|()| output.write_all(frame));
        if written.is_err() {
            // Nobody reads: the Dask worker is gone.
            exit::now(0);
        }
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_parcel(&self, number: u64, parcel: &[u8]) {
        let mut replies = Put::default();
        replies.u64(number);
        let letters = letter::open(parcel).unwrap_or_default();
        let mut begun: Vec<_> = letters.iter().map(|letter| Running::begin(self, number, letter)).collect();
        replies.u32(begun.len() as u32);
        for running in &mut begun {
            running.finish().put(&mut replies);
        }
        self.letters().parcels.remove(&number);
        self.write(to_node::RUN, &replies.0);
    }

    /// Nobody wants the reply to a parcel.
    fn drop_parcel(&self, number: u64) {
        let mut letters = self.letters();
        let Some(parcel) = letters.parcels.get_mut(&number) else { return };
        parcel.dropped = true;
        let messages: Vec<SentPiece> = parcel.messages.values().flatten().cloned().collect();
        drop(letters);
        messages.iter().for_each(|piece| _ = piece.engine.kill_task(&piece.ticket));
    }

    /// Answers a question, for each letter.
    fn answer(&self, frame: &[u8]) -> Vec<u8> {
        let mut frame = Take(frame);
        let (Some(kind), Some(count)) = (frame.u8(), frame.u32()) else { return Vec::new() };
        let ids = (0..count).map_while(|_| frame.u64());
        let answer = |id| match kind {
            question::CANCEL | question::KILL => self.end_letter(id, kind == question::KILL),
            question::RUNNING => self.letters().messages(id).any(|piece| piece.engine.is_running(&piece.ticket)),
            question::ALLOW => {
                self.letters().refused.remove(id);
                true
            }
            _ => false,
        };
        ids.map(|id| answer(id).into()).collect()
    }

    /// Keeps a letter from being begun; or ends it, if it is to be killed. Whether it has not been begun, or was killed.
    fn end_letter(&self, id: u64, kill: bool) -> bool {
        let mut letters = self.letters();
        if letters.ended.has(id) {
            return false;
        }
        letters.refused.add(id);
        let messages: Vec<SentPiece> = letters.messages(id).cloned().collect();
        drop(letters);
        let mut all = true;
        for SentPiece { engine, ticket } in messages {
            let ended = if kill { engine.kill_task(&ticket) } else { engine.cancel(&ticket) };
            // Nothing of it has begun, or all of it is ended.
            all &= ended || (kill && ticket.is_finished());
        }
        all
    }

    /// The worker processes with these options.
    fn engine(&self, options: WorkerOptions) -> Arc<Engine> {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Engine::new(self.workers, options, CallOptions::NONE);
        Arc::clone(engines.entry(options.key()).or_insert_with(make))
    }

    fn rate(&self, entry: u64) -> Option<f64> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).get(&entry).copied()
    }

    fn saw(&self, entry: u64, items: u32, nanoseconds: u64) {
        if items > 0 {
            let each = (nanoseconds as f64 / f64::from(items)).max(1.0);
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.entry(entry).and_modify(|rate| *rate = 0.5 * (*rate + each)).or_insert(each);
        }
    }
}
