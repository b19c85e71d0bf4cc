//! What a worker is told at its start.
//!
//! The program sends one message on the control channel, the [`Welcome`], with the arena's descriptor, before the worker even runs; it
//! then only holds the channel open: its end is the worker's end. What the worker says there is a [`Request`](crate::ipc::control::ControlRequest).

use std::io;

use bytemuck::{Pod, Zeroable};

use crate::process::state::functions::{MOST_KEPT, TOLD};
use crate::sandbox::Allowed;
use crate::sys::Descriptor;
use crate::sys::channel::Channel;
use crate::sys::descriptors::Inherited;
use crate::sys::image;
use crate::sys::segment::Segment;

const MAGIC: u64 = u64::from_ne_bytes(*b"parallel");

/// The most bytes of paths that a sandbox allows.
const MOST_PATHS: usize = 64 << 10;

/// The most bytes of numbers of descriptors.
const MOST_DESCRIPTORS: usize = 32 << 10;

/// The most bytes of a pool's name.
const LONGEST_NAME: usize = 64;

/// The first and only message from the program. After it come the paths that the sandbox allows.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Welcome {
    pub(super) magic: u64,
    /// Tells which build of the executable the program runs.
    pub(super) fingerprint: u64,
    pub(super) arena_len: u64,
    /// 1 if its memory is limited.
    pub(super) arena_scarce: u64,
    pub(super) board_offset: u64,
    pub(super) workers: u32,
    pub(super) slots: u32,
    /// Which of the workers this one is.
    pub(super) worker: u32,
    /// 1 if it ends after one message.
    pub(super) one_shot: u32,
    /// After so many tasks it retires; 0 for no limit.
    pub(super) max_tasks: u64,
    /// In bytes; 0 for no limit.
    pub(super) memory_limit: u64,
    /// The function to run first, as an offset from the start of the image; 0 for none.
    pub(super) init: u64,
    /// What it makes after that to keep it, as offsets from the start of the image; 0 for nothing.
    pub(super) keeps: [u64; MOST_KEPT],
    /// What decodes the configuration of the pool's state, as an offset in the image, or 0; and where that lies in the arena.
    pub(super) state_entry: u64,
    pub(super) state_offset: u64,
    pub(super) state_len: u64,
    /// 1 if it confines itself before the first task.
    pub(super) sandbox: u64,
    /// 1 if it has no part in the shared objects of the process that starts it.
    pub(super) isolated: u64,
    /// Its [`Token`](crate::shared::Token).
    pub(super) token: u64,
    /// 1 if its results go to another machine.
    pub(super) far: u64,
    /// How many descriptors are to be closed, whose numbers follow.
    pub(super) inherited: u64,
    /// What the pool is called, in UTF-8, ended by zeros: the first part of a long name.
    pub(super) pool_name: [u8; LONGEST_NAME],
    /// What the numbers of the pool's first functions stand for, as offsets in the executable; 0 for nothing yet.
    pub(super) functions: [u64; TOLD],
}

impl Welcome {
    /// See `pool_name`.
    pub(super) fn name_of(name: &str) -> [u8; LONGEST_NAME] {
        let mut bytes = [0; LONGEST_NAME];
        let end = (0..=LONGEST_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        bytes
    }

    /// What the pool is called.
    pub(super) fn name(&self) -> String {
        let end = self.pool_name.iter().position(|byte| *byte == 0).unwrap_or(LONGEST_NAME);
        String::from_utf8_lossy(&self.pool_name[..end]).into_owned()
    }

    /// Sends it, with the arena, with the descriptors that the worker inherits without a use for them, and with the paths that the sandbox allows.
    pub(super) fn send(
        &self,
        channel: &Channel,
        arena: &Segment,
        inherited: &[Inherited],
        allowed: &Allowed,
    ) -> io::Result<()> {
        let welcome =
            Self { magic: MAGIC, fingerprint: image::fingerprint(), inherited: inherited.len() as u64, ..*self };
        let paths = allowed.to_bytes();
        if paths.len() > MOST_PATHS {
            return Err(io::Error::other("the sandbox allows too many paths: 64 KiB of them at most"));
        }
        let message = [bytemuck::bytes_of(&welcome), bytemuck::cast_slice(inherited), &paths];
        channel.send_with(&message, arena.descriptor())
    }

    /// Receives it.
    pub(super) fn receive(channel: &Channel) -> io::Result<(Self, Descriptor, Vec<Inherited>, Allowed)> {
        let mut bytes = vec![0_u8; size_of::<Self>() + MOST_PATHS + MOST_DESCRIPTORS];
        let (len, arena) = channel.receive_with(&mut bytes)?;
        let (welcome, rest) = bytes[..len].split_at(len.min(size_of::<Self>()));
        let welcome: Self = bytemuck::try_pod_read_unaligned(welcome).unwrap_or_else(|_| Self::zeroed());
        let parts = usize::try_from(welcome.inherited).ok().and_then(|inherited| {
            let inherited = inherited.checked_mul(size_of::<Inherited>())?;
            rest.split_at_checked(inherited)
        });
        match (arena, parts) {
            (Some(_), Some(_)) if welcome.magic == MAGIC && welcome.fingerprint != image::fingerprint() => {
                Err(io::Error::other(
                    "the executable is another build than the program: it was replaced while the program ran, which has to be started again",
                ))
            }
            (Some(arena), Some((inherited, paths))) if welcome.magic == MAGIC => {
                let inherited =
                    inherited.chunks_exact(size_of::<Inherited>()).map(bytemuck::pod_read_unaligned).collect();
                Ok((welcome, arena, inherited, Allowed::from_bytes(paths)))
            }
            _ => {
                Err(io::Error::other("this process was started as a worker by something that is not parallel-runtime"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::with_random_bytes;

    #[test]
    fn any_bytes_for_a_worker_are_a_welcome_or_an_error() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::from_descriptor(theirs);
        with_random_bytes(|random| {
            let bytes: Vec<u8> = random.arbitrary()?;
            if !bytes.is_empty() {
                ours.send(&bytes).unwrap();
                assert!(Welcome::receive(&theirs).is_err(), "there is no descriptor of an arena with it");
            }
            Ok(())
        });
    }
}
