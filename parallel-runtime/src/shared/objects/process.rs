//! Who lives.

use std::sync::atomic::Ordering::SeqCst;

use super::registry::registry;
use crate::error::TaskError;
use crate::shared::handle::Reference;
use crate::shared::space::Space;
use crate::shared::tables::Token;

/// A worker that is about to be started.
pub(crate) struct Process {
    /// `None` for a process that has no part in the shared objects.
    token: Option<Token>,
}

impl Process {
    /// One that has no part in the shared objects, which are those of another process than this one.
    pub(crate) fn apart() -> Self {
        Self { token: None }
    }

    /// Gives it a place in the table of those that live.
    pub(crate) fn new() -> Result<Self, TaskError> {
        let space = Space::get()?;
        let mut registry = registry();
        if registry.processes.is_empty() {
            registry.processes.push(false);
        }
        let vacant = registry.processes.iter().skip(1).position(|lives| !lives).map(|place| place + 1);
        let place = vacant.unwrap_or_else(|| {
            registry.processes.push(false);
            registry.processes.len() - 1
        });
        if place >= space.tables().most_processes() {
            registry.processes.truncate(place);
            return Err(TaskError::Spawn(std::io::Error::other(format!(
                "a program can have {} worker processes at one time",
                place - 1
            ))));
        }
        registry.processes[place] = true;
        let places = registry.processes.len();
        registry.withdrawn.resize(places, 0);
        registry.withdrawn[place] = 0;
        space.tables().withdrawn(place as u32).store(0, SeqCst);
        let token = Token::new(place as u32, registry.new_nonce());
        space.tables().set_living(token, true);
        Ok(Self { token: Some(token) })
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.token
    }

    /// It has been told of an object, before it knows.
    pub(crate) fn gets(&self, reference: Reference) {
        if let (Some(space), Some(token)) = (Space::existing(), self.token) {
            space.tables().set_bit(token, reference.id);
        }
    }

    /// The process has ended: what it has locked is free from now on.
    pub(crate) fn mark_dead(&self) {
        if let (Some(space), Some(token)) = (Space::existing(), self.token) {
            space.tables().set_living(token, false);
        }
    }
}

impl Drop for Process {
    /// It is gone: its locks are free, and what only it had is freed.
    fn drop(&mut self) {
        let (Some(space), Some(token)) = (Space::existing(), self.token) else { return };
        let mut registry = registry();
        space.tables().set_living(token, false);
        registry.processes[token.place() as usize] = false;
        registry.forget_given(token);
        let mut had = space.tables().clear_all(token, registry.entries.len());
        // It may have said that it puts a handle into a container, and not come to do so; or have taken one out, and not said so.
        let registry_of = |id: &u32| registry.entries.get(*id as usize).map(|entry| (*id, entry));
        let containers = had.iter().filter_map(registry_of).filter(|(_, entry)| !entry.contents.is_empty());
        let containers: Vec<_> = containers.map(|(id, entry)| (id, entry.nonce)).collect();
        registry.sweeps.extend(containers);
        // It may have cleared a bit, and not come to say so.
        had.extend(&registry.orphans);
        for id in had {
            registry.free_if_unused(id);
        }
    }
}
