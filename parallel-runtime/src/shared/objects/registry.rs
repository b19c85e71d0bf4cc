//! What is written down of each object: the registry.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::error::TaskError;
use crate::shared::allocator;
use crate::shared::arena::{Arena, Block};
use crate::shared::handle::{Handle, Reference};
use crate::shared::slab::{self, Piece, Slabs};
use crate::shared::space::Space;
use crate::shared::tables::{Kind, Token};
use crate::sys::role;

/// The registry.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) entries: Vec<Entry>,
    pub(super) free: Vec<u32>,
    /// By offset: which object starts there.
    pub(super) by_offset: BTreeMap<u64, u32>,
    pub(super) slabs: Slabs,
    /// What goes back to the arena when the registry is closed.
    pub(super) freed: Vec<Block>,
    /// Objects that only workers had when it was last looked.
    pub(super) orphans: HashSet<u32>,
    /// By place: whether a process is there. The first is the program's, which needs no bits.
    pub(super) processes: Vec<bool>,
    /// By place: how many handles its process has said that it took out of containers.
    pub(super) withdrawn: Vec<u64>,
    /// By their offset in the executable: see [`statics`](crate::shared::statics).
    pub(super) statics: HashMap<u64, Arc<Handle>>,
    pub(super) nonces: u64,
    /// What each worker has been given, by its token: see [`charge`](Registry::charge).
    given: HashMap<u64, u64>,
    /// Containers in which a process may have left more counted than there is. They are looked through when the registry is closed.
    pub(super) sweeps: BTreeSet<(u32, u64)>,
}

#[derive(Default)]
pub(super) struct Entry {
    pub(super) nonce: u64,
    pub(super) memory: Option<Memory>,
    /// The worker that asked for it.
    pub(super) by: Option<Token>,
    /// What it has taken beyond that, and the workers that asked.
    pub(super) more: Vec<(Block, Option<Token>)>,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) kind: Option<Kind>,
    /// The program's own handle.
    pub(super) here: Weak<Handle>,
    /// For a container: the objects whose handles are in it, and how many of each.
    pub(super) contents: HashMap<u32, u64>,
    /// How often its handle is in a container.
    pub(super) stored: u64,
    /// Containers that may have it less often than is counted, which shows when nothing else has it.
    pub(super) doubtful: BTreeSet<u32>,
}

pub(super) enum Memory {
    Block(Block),
    Piece(Piece),
}

/// The registry, while this thread reads or writes it. What is freed meanwhile goes back to the arena afterwards.
pub(super) struct Access {
    registry: Option<MutexGuard<'static, Registry>>,
}

pub(super) fn registry() -> Access {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    Access { registry: Some(REGISTRY.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)) }
}

impl Deref for Access {
    type Target = Registry;
    fn deref(&self) -> &Registry {
        self.registry.as_ref().expect("they are open until the end")
    }
}

impl DerefMut for Access {
    fn deref_mut(&mut self) -> &mut Registry {
        self.registry.as_mut().expect("they are open until the end")
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let take = |registry: &mut MutexGuard<'static, Registry>| {
            (std::mem::take(&mut registry.freed), std::mem::take(&mut registry.sweeps))
        };
        let (freed, sweeps) = self.registry.as_mut().map(take).unwrap_or_default();
        self.registry = None;
        if let Some(sweep) = SWEEP.get()
            && !sweeps.is_empty()
        {
            sweep(sweeps);
        }
        let bytes: u64 = freed.iter().map(Block::len).sum();
        // Many pages take long, and the supervisor has no time.
        if bytes > LARGE && role::is_supervisor() {
            let spawned = std::thread::Builder::new().name("parallel-free".to_owned()).spawn(move || drop(freed));
            drop(spawned);
        }
    }
}

/// Has containers looked through that a dead worker had.
type Sweep = fn(BTreeSet<(u32, u64)>);

static SWEEP: OnceLock<Sweep> = OnceLock::new();

/// The containers say how to look through them.
pub(in crate::shared) fn set_sweep(sweep: Sweep) {
    let _ = SWEEP.set(sweep);
}

/// What the supervisor does not give back by itself, in bytes.
const LARGE: u64 = 64 << 20;

impl Registry {
    pub(super) fn new_id(&mut self) -> Result<u32, TaskError> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        let most = Space::get()?.tables().most_objects();
        if self.entries.len() == most {
            return Err(TaskError::OutOfSharedMemory { requested: 1, available: 0 });
        }
        self.entries.push(Entry::default());
        Ok(self.entries.len() as u32 - 1)
    }

    /// A number that no process can guess, and never 0: it shows that a handle is what it says.
    pub(super) fn new_nonce(&mut self) -> u64 {
        static SEED: OnceLock<RandomState> = OnceLock::new();
        self.nonces += 1;
        SEED.get_or_init(RandomState::new).hash_one(self.nonces).max(1)
    }

    pub(super) fn take(
        &mut self,
        arena: &Arc<Arena>,
        len: u64,
        alignment: u64,
    ) -> Result<(Memory, u64, bool), TaskError> {
        if len <= slab::LARGEST && alignment <= len.next_power_of_two() {
            let piece = self.slabs.take(arena, len)?;
            return Ok((Memory::Piece(piece), piece.offset, false));
        }
        // Blocks start at pages.
        let slack = alignment.saturating_sub(allocator::PAGE);
        let room = len.saturating_add(slack);
        let block = arena.take_zeroed(room)?;
        let offset = block.offset().next_multiple_of(alignment);
        let zeroed = block.is_zeroed();
        Ok((Memory::Block(block), offset, zeroed))
    }

    /// A worker asks for so many bytes. It may have half of the arena at one time, so that one which takes all that it can get leaves something to
    /// the program; an object counts for a millionth at least, since there are so many numbers for them.
    pub(super) fn charge(&mut self, by: Option<Token>, len: u64, arena: u64) -> Result<(), TaskError> {
        let Some(by) = by else { return Ok(()) };
        let given = self.given.entry(by.bits()).or_default();
        let (wanted, most) = (len.max(arena >> 20), arena / 2);
        match given.checked_add(wanted).filter(|given| *given <= most) {
            Some(now) => {
                *given = now;
                Ok(())
            }
            None => Err(TaskError::OutOfSharedMemory { requested: len, available: most.saturating_sub(*given) }),
        }
    }

    /// What it was given is free again, or was not given after all.
    pub(super) fn discharge(&mut self, by: Option<Token>, len: u64) {
        // Of a worker that is gone nothing is kept.
        if let Some(given) = by.and_then(|by| self.given.get_mut(&by.bits())) {
            let least = Space::existing().map_or(0, |space| space.len() >> 20);
            *given = given.saturating_sub(len.max(least));
        }
    }

    /// A worker is gone.
    pub(super) fn forget_given(&mut self, by: Token) {
        self.given.remove(&by.bits());
    }

    /// Frees an object if nothing has it; and then, what only it had.
    pub(super) fn free_if_unused(&mut self, id: u32) {
        // Not by recursion: containers may be nested deeper than a stack.
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            self.free_one(id, &mut left);
        }
    }

    /// Whether a living worker has an object. It says so from now on when it lets go of it.
    fn worker_has(&mut self, space: &Space, id: u32) -> bool {
        space.tables().object(id).orphan.store(1, SeqCst);
        self.orphans.insert(id);
        self.has_bit(space, id)
    }

    fn has_bit(&self, space: &Space, id: u32) -> bool {
        let mut living = self.processes.iter().enumerate().filter(|(_, lives)| **lives);
        living.any(|(place, _)| space.tables().has_bit(place as u32, id))
    }

    /// Frees an object if nothing has it. What it had is `left` to be looked at.
    fn free_one(&mut self, id: u32, left: &mut Vec<u32>) {
        let Some(space) = Space::existing() else { return };
        let Some(entry) = self.entries.get(id as usize) else { return };
        let is_settled = entry.stored > 0 && entry.doubtful.is_empty();
        if entry.memory.is_none() || entry.here.strong_count() > 0 || is_settled {
            return;
        }
        // A worker that has it may just be comparing the nonce: so that is not touched as long as one has it.
        if self.worker_has(space, id) {
            return;
        }
        let object = space.tables().object(id);
        let entry = &mut self.entries[id as usize];
        if entry.stored > 0 {
            let containers = std::mem::take(&mut entry.doubtful);
            let nonce_of = |id: u32| self.entries.get(id as usize).map(|entry| (id, entry.nonce));
            self.sweeps.extend(containers.into_iter().filter_map(nonce_of));
            return;
        }
        object.nonce.store(0, SeqCst);
        if self.has_bit(space, id) {
            object.nonce.store(self.entries[id as usize].nonce, SeqCst);
            return;
        }
        self.orphans.remove(&id);
        let Entry { memory, more, offset, contents, len, by, .. } = std::mem::take(&mut self.entries[id as usize]);
        self.discharge(by, len);
        for (block, by) in &more {
            self.discharge(*by, block.len());
        }
        self.by_offset.remove(&offset);
        match memory {
            Some(Memory::Piece(piece)) => self.slabs.give_back(piece),
            Some(Memory::Block(block)) => self.freed.push(block),
            None => {}
        }
        self.freed.extend(more.into_iter().map(|(block, _)| block));
        self.free.push(id);
        for (content, count) in contents {
            if let Some(entry) = self.entries.get_mut(content as usize) {
                entry.stored = entry.stored.saturating_sub(count);
                left.push(content);
            }
        }
    }

    pub(super) fn unstore(&mut self, id: u32, count: u64) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.stored = entry.stored.saturating_sub(count);
            self.free_if_unused(id);
        }
    }

    /// Sets right how often a container has each object, whose lock this thread holds: as often as was `found` there. An object that
    /// another process has may just be on its way into the container or out of it: that one is seen later.
    ///
    /// Nor is anything set right while a process has said something that has not been read: it may be that it took one out, and would
    /// be counted twice. False if that is so.
    pub(super) fn correct(&mut self, container: u32, found: &HashMap<u32, u64>) -> bool {
        let Some(space) = Space::existing() else { return true };
        let mut all_read = true;
        let counted = self.entries[container as usize].contents.clone();
        for (id, count) in counted {
            let there = found.get(&id).copied().unwrap_or(0);
            if there >= count {
                continue;
            }
            let is_held = self.entries[id as usize].here.strong_count() > 0 || self.worker_has(space, id);
            if is_held {
                self.entries[id as usize].doubtful.insert(container);
                continue;
            }
            // After it was seen that nothing has it: the process that had it has said so before.
            if !self.has_read_all(space) {
                all_read = false;
                continue;
            }
            let contents = &mut self.entries[container as usize].contents;
            if there == 0 {
                contents.remove(&id);
            } else {
                contents.insert(id, there);
            }
            self.unstore(id, count - there);
        }
        all_read
    }

    /// Whether all that living processes have said of handles that they took out has been read.
    fn has_read_all(&self, space: &Space) -> bool {
        let mut living = self.processes.iter().enumerate().skip(1).filter(|(_, lives)| **lives);
        living.all(|(place, _)| {
            let read = self.withdrawn.get(place).copied().unwrap_or(0);
            space.tables().withdrawn(place as u32).load(SeqCst) == read
        })
    }

    /// The program's handle of an object, which it may have had before or not.
    pub(super) fn adopt(&mut self, id: u32, nonce: u64) -> Option<Arc<Handle>> {
        let entry = self.entries.get_mut(id as usize)?;
        if nonce == 0 || entry.nonce != nonce || entry.memory.is_none() {
            return None;
        }
        if let Some(handle) = entry.here.upgrade() {
            return Some(handle);
        }
        let handle = Arc::new(Handle::new(Reference { id, nonce, offset: entry.offset, len: entry.len }));
        entry.here = Arc::downgrade(&handle);
        self.orphans.remove(&id);
        if let Some(space) = Space::existing() {
            space.tables().object(id).orphan.store(0, SeqCst);
        }
        Some(handle)
    }
}
