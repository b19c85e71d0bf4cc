//! The main loop of a node: from a submission to its replies.

use std::io::{BufReader, Write};
use std::sync::Mutex;

use super::requests::Submission;
use super::run::Running;
use super::state::Node;
use crate::dask::request::{self, Reply};
use crate::dask::wire::{self, Put, Take, to_node};
use crate::sys::{exit, streams};

/// What a node says first.
const HELLO: u8 = 0;

/// Everything that a node does.
pub(super) fn main(workers: usize) -> ! {
    let code = match run(workers.max(1)) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "parallel-runtime: a node has ended: {error}");
            1
        }
    };
    exit::now(code)
}

fn run(workers: usize) -> std::io::Result<()> {
    // What tasks print must not get among the frames.
    let (input, output) = streams::take()?;
    let node: &'static Node = Box::leak(Box::new(Node {
        output: Mutex::new(output),
        workers,
        requests: Mutex::default(),
        rates: Mutex::default(),
        engines: Mutex::default(),
    }));
    node.write(HELLO, &[]);
    let mut input = BufReader::with_capacity(1 << 16, input);
    while let Some((kind, frame)) = wire::read(&mut input)? {
        let Some(number) = Take(&frame).u64() else { continue };
        match kind {
            to_node::RUN => {
                // Here, so that a frame that drops it finds it.
                node.requests().submissions.insert(number, Submission::default());
                let spawned = std::thread::Builder::new()
                    .name("parallel-submission".to_owned())
                    .spawn(move || node.run_submission(number, &frame[8..]));
                if spawned.is_err() {
                    node.requests().submissions.remove(&number);
                    node.write(to_node::RUN, Put::default().u64(number).u32(0).0.as_slice());
                }
            }
            to_node::ASK => {
                let mut answer = number.to_le_bytes().to_vec();
                answer.extend_from_slice(&node.answer(&frame[8..]));
                node.write(to_node::ASK, &answer);
            }
            to_node::DROP => node.drop_submission(number),
            _ => {}
        }
    }
    Ok(())
}

impl Node {
    fn run_submission(&self, number: u64, submission: &[u8]) {
        let mut replies = Put::default();
        replies.u64(number);
        let (state, requests) = request::open(submission).unwrap_or_default();
        // An engine is found, or made, for each: most of a submission have the same.
        let begun = requests.iter().map(|request| {
            let engine = self.engine(request.workers, &state);
            (request.id, engine.map(|engine| Running::begin(self, number, request, engine)))
        });
        let begun: Vec<_> = begun.collect();
        replies.u32(begun.len() as u32);
        for (id, running) in begun {
            let reply = match running {
                Ok(mut running) => running.finish(),
                Err(error) => Reply::failed(id, error),
            };
            reply.put(&mut replies);
        }
        self.requests().submissions.remove(&number);
        self.write(to_node::RUN, &replies.0);
    }
}
