//! The program's books of shared objects: which there are, where, and who has them.
//!
//! They lie in the program's private memory, so that no worker can damage them. An object is freed when the program has no
//! handle of it, no container holds one, and no living worker has it: see [`tables`](super::tables).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::held::{Held, Reference};
use super::small::{self, Piece, Small};
use super::space::Space;
use super::tables::{Kind, Token};
use super::{Arena, Block};
use crate::error::TaskError;
use crate::process::supervisor;

/// The books.
#[derive(Default)]
struct Books {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// By offset: which object starts there.
    by_offset: BTreeMap<u64, u32>,
    small: Small,
    /// What goes back to the arena when the books are closed.
    freed: Vec<Block>,
    /// Objects that only workers had when it was last looked.
    orphans: HashSet<u32>,
    /// By place: whether a process is there. The first is the program's, which needs no bits.
    processes: Vec<bool>,
    /// By their offset in the executable: see [`statics`](super::statics).
    statics: HashMap<u64, Arc<Held>>,
    nonces: u64,
}

#[derive(Default)]
struct Entry {
    nonce: u64,
    memory: Option<Memory>,
    /// What it has taken beyond that.
    more: Vec<Block>,
    offset: u64,
    len: u64,
    kind: Option<Kind>,
    /// The program's own handle.
    here: Weak<Held>,
    /// For a container: the objects whose handles are in it, and how many of each.
    contents: HashMap<u32, u64>,
    /// How often its handle is in a container.
    stored: u64,
}

enum Memory {
    Block(Block),
    Piece(Piece),
}

/// A new object's memory, and what is known of its contents.
pub(crate) struct New {
    pub(crate) held: Arc<Held>,
    /// All of it reads as zeros.
    pub(crate) zeroed: bool,
}

/// The books, while this thread reads or writes them. What is freed meanwhile goes back to the arena afterwards.
struct Access {
    books: Option<MutexGuard<'static, Books>>,
}

fn books() -> Access {
    static BOOKS: OnceLock<Mutex<Books>> = OnceLock::new();
    Access { books: Some(BOOKS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)) }
}

impl Deref for Access {
    type Target = Books;
    fn deref(&self) -> &Books {
        self.books.as_ref().expect("they are open until the end")
    }
}

impl DerefMut for Access {
    fn deref_mut(&mut self) -> &mut Books {
        self.books.as_mut().expect("they are open until the end")
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let freed = self.books.as_mut().map(|books| std::mem::take(&mut books.freed)).unwrap_or_default();
        self.books = None;
        let bytes: u64 = freed.iter().map(Block::len).sum();
        // Many pages take long, and the supervisor has no time.
        if bytes > LARGE && supervisor::is_this_thread() {
            let spawned = std::thread::Builder::new().name("parallel-free".to_owned()).spawn(move || drop(freed));
            drop(spawned);
        }
    }
}

/// What the supervisor does not give back by itself, in bytes.
const LARGE: u64 = 64 << 20;

/// Makes an object of `len` bytes, at least one, that starts at a multiple of `alignment`.
pub(crate) fn create(len: u64, alignment: u64, kind: Kind) -> Result<New, TaskError> {
    let arena = Arena::get().map_err(TaskError::Spawn)?;
    let mut books = books();
    let id = books.new_id()?;
    match books.take(&arena, len, alignment) {
        Ok((memory, offset, zeroed)) => {
            let nonce = books.new_nonce();
            let held = Arc::new(Held::new(Reference { id, nonce, offset, len }));
            let here = Arc::downgrade(&held);
            books.entries[id as usize] =
                Entry { nonce, memory: Some(memory), offset, len, kind: Some(kind), here, ..Entry::default() };
            books.by_offset.insert(offset, id);
            let object = Space::get()?.tables().object(id);
            object.orphan.store(0, std::sync::atomic::Ordering::SeqCst);
            object.offset.store(offset, std::sync::atomic::Ordering::SeqCst);
            object.len.store(len, std::sync::atomic::Ordering::SeqCst);
            object.kind.store(kind as u32, std::sync::atomic::Ordering::SeqCst);
            object.nonce.store(nonce, std::sync::atomic::Ordering::SeqCst);
            Ok(New { held, zeroed })
        }
        Err(error) => {
            books.free.push(id);
            Err(error)
        }
    }
}

impl Books {
    fn new_id(&mut self) -> Result<u32, TaskError> {
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

    /// A number that nobody can guess, and never 0: it shows that a handle is what it says.
    fn new_nonce(&mut self) -> u64 {
        static SEED: OnceLock<RandomState> = OnceLock::new();
        self.nonces += 1;
        SEED.get_or_init(RandomState::new).hash_one(self.nonces).max(1)
    }

    fn take(&mut self, arena: &Arc<Arena>, len: u64, alignment: u64) -> Result<(Memory, u64, bool), TaskError> {
        if len <= small::LARGEST && alignment <= len.next_power_of_two() {
            let piece = self.small.take(arena, len)?;
            return Ok((Memory::Piece(piece), piece.offset, false));
        }
        // Blocks start at pages.
        let slack = alignment.saturating_sub(super::allocator::PAGE);
        let room = len.saturating_add(slack);
        let block = arena.take(room)?;
        let offset = block.offset().next_multiple_of(alignment);
        let zeroed = block.is_zeroed();
        Ok((Memory::Block(block), offset, zeroed))
    }

    /// Frees an object if nobody has it; and then, what only it had.
    fn free_if_unused(&mut self, id: u32) {
        // Not by recursion: containers may be nested deeper than a stack.
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            self.free_one(id, &mut left);
        }
    }

    /// Frees an object if nobody has it. What it had is `left` to be looked at.
    fn free_one(&mut self, id: u32, left: &mut Vec<u32>) {
        use std::sync::atomic::Ordering::SeqCst;
        let Some(space) = Space::existing() else { return };
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        if entry.memory.is_none() || entry.here.strong_count() > 0 || entry.stored > 0 {
            return;
        }
        let object = space.tables().object(id);
        let processes = &self.processes;
        let somebody_has_it = || {
            let mut living = processes.iter().enumerate().filter(|(_, lives)| **lives);
            living.any(|(place, _)| space.tables().has_bit(place as u32, id))
        };
        object.orphan.store(1, SeqCst);
        self.orphans.insert(id);
        // A worker that has it may just be comparing the nonce: so that is not touched as long as one has it.
        if somebody_has_it() {
            return;
        }
        object.nonce.store(0, SeqCst);
        if somebody_has_it() {
            object.nonce.store(entry.nonce, SeqCst);
            return;
        }
        self.orphans.remove(&id);
        let Entry { memory, more, offset, contents, .. } = std::mem::take(entry);
        self.by_offset.remove(&offset);
        match memory {
            Some(Memory::Piece(piece)) => self.small.give_back(piece),
            Some(Memory::Block(block)) => self.freed.push(block),
            None => {}
        }
        self.freed.extend(more);
        self.free.push(id);
        for (content, count) in contents {
            if let Some(entry) = self.entries.get_mut(content as usize) {
                entry.stored = entry.stored.saturating_sub(count);
                left.push(content);
            }
        }
    }

    fn unstore(&mut self, id: u32, count: u64) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.stored = entry.stored.saturating_sub(count);
            self.free_if_unused(id);
        }
    }

    /// The program's handle of an object, which it may have had before or not.
    fn adopt(&mut self, id: u32, nonce: u64) -> Option<Arc<Held>> {
        let entry = self.entries.get_mut(id as usize)?;
        if nonce == 0 || entry.nonce != nonce || entry.memory.is_none() {
            return None;
        }
        if let Some(held) = entry.here.upgrade() {
            return Some(held);
        }
        let held = Arc::new(Held::new(Reference { id, nonce, offset: entry.offset, len: entry.len }));
        entry.here = Arc::downgrade(&held);
        self.orphans.remove(&id);
        if let Some(space) = Space::existing() {
            space.tables().object(id).orphan.store(0, std::sync::atomic::Ordering::SeqCst);
        }
        Some(held)
    }
}

/// Takes a handle of a kind that came from somewhere. `None` if its object is gone, or is none of that kind.
pub(super) fn adopt(id: u32, nonce: u64, kind: Kind) -> Option<Arc<Held>> {
    let mut books = books();
    let entry = books.entries.get_mut(id as usize)?;
    let says = Space::existing()?.tables().object(id).kind.load(std::sync::atomic::Ordering::SeqCst);
    // Whether it is shared a worker may say, which is then true for ever.
    if kind == Kind::Slice && entry.kind == Some(Kind::Vec) && says == kind as u32 {
        entry.kind = Some(kind);
    }
    if entry.kind != Some(kind) || says != kind as u32 {
        return None;
    }
    books.adopt(id, nonce)
}

/// An object with one owner has none any more.
pub(super) fn set_shared(id: u32) {
    let mut books = books();
    if let Some(entry) = books.entries.get_mut(id as usize) {
        entry.kind = Some(Kind::Slice);
    }
}

/// Takes a handle of any kind.
pub(crate) fn named(id: u64, nonce: u64) -> Option<Arc<Held>> {
    books().adopt(u32::try_from(id).ok()?, nonce)
}

/// The program's last handle is gone.
pub(super) fn let_go(held: &Held) {
    let id = held.reference().id;
    let mut books = books();
    let Some(entry) = books.entries.get_mut(id as usize) else { return };
    // Somebody may have taken another handle meanwhile.
    if std::ptr::eq(entry.here.as_ptr(), held) {
        entry.here = Weak::new();
        books.free_if_unused(id);
    }
}

/// The object whose memory holds an offset.
pub(super) fn at(offset: u64) -> Option<Arc<Held>> {
    let mut books = books();
    let (_, &id) = books.by_offset.range(..=offset).next_back()?;
    let entry = &books.entries[id as usize];
    let nonce = entry.nonce;
    if offset - entry.offset > entry.len {
        return None;
    }
    books.adopt(id, nonce)
}

/// A worker that is about to be started.
pub(crate) struct Process {
    token: Token,
}

impl Process {
    /// Gives it a place in the table of those that live.
    pub(crate) fn new() -> Result<Self, TaskError> {
        let space = Space::get()?;
        let mut books = books();
        if books.processes.is_empty() {
            books.processes.push(false);
        }
        let vacant = books.processes.iter().skip(1).position(|lives| !lives).map(|place| place + 1);
        let place = vacant.unwrap_or_else(|| {
            books.processes.push(false);
            books.processes.len() - 1
        });
        if place >= space.tables().most_processes() {
            books.processes.truncate(place);
            return Err(TaskError::Spawn(std::io::Error::other(format!(
                "a program can have {} worker processes at one time",
                place - 1
            ))));
        }
        books.processes[place] = true;
        let token = Token::new(place as u32, books.new_nonce());
        space.tables().set_living(token, true);
        Ok(Self { token })
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// It has been told of an object, before it knows.
    pub(crate) fn gets(&self, reference: Reference) {
        if let Some(space) = Space::existing() {
            space.tables().set_bit(self.token, reference.id);
        }
    }
}

impl Drop for Process {
    /// It is gone: its locks are nobody's, and what only it had is freed.
    fn drop(&mut self) {
        let Some(space) = Space::existing() else { return };
        let mut books = books();
        space.tables().set_living(self.token, false);
        books.processes[self.token.place() as usize] = false;
        let mut had = space.tables().clear_all(self.token, books.entries.len());
        // It may have cleared a bit, and not come to say so.
        had.extend(&books.orphans);
        for id in had {
            books.free_if_unused(id);
        }
    }
}

/// A worker has let go of an object that only workers had.
pub(crate) fn released(id: u64) {
    if let Ok(id) = u32::try_from(id) {
        books().free_if_unused(id);
    }
}

/// More memory for an object. It is freed with it.
pub(crate) fn grow(id: u64, nonce: u64, len: u64) -> Result<u64, TaskError> {
    let arena = Arena::get().map_err(TaskError::Spawn)?;
    // Not under the lock: this may take a while.
    let block = arena.take(len)?;
    let offset = block.offset();
    let mut books = books();
    let entry = usize::try_from(id).ok().and_then(|id| books.entries.get_mut(id));
    match entry.filter(|entry| entry.nonce == nonce && entry.memory.is_some()) {
        Some(entry) => {
            entry.more.push(block);
            Ok(offset)
        }
        None => Err(TaskError::OutOfSharedMemory { requested: len, available: 0 }),
    }
}

/// How many bytes an object has been given.
pub(super) fn granted(id: u32) -> u64 {
    let books = books();
    books.entries.get(id as usize).map_or(0, |entry| entry.len + entry.more.iter().map(Block::len).sum::<u64>())
}

/// A handle of `object` is about to be put into a container.
pub(crate) fn store(container: (u64, u64), object: (u64, u64)) -> bool {
    let mut books = books();
    let valid = |books: &Books, (id, nonce): (u64, u64)| {
        let entry = usize::try_from(id).ok().and_then(|id| books.entries.get(id));
        entry.is_some_and(|entry| entry.nonce == nonce && entry.memory.is_some())
    };
    if !valid(&books, container) || !valid(&books, object) {
        return false;
    }
    *books.entries[container.0 as usize].contents.entry(object.0 as u32).or_default() += 1;
    books.entries[object.0 as usize].stored += 1;
    true
}

/// A handle of an object has been taken out of a container.
pub(crate) fn unstore(container: u64, object: u64) {
    let mut books = books();
    let Some(entry) = usize::try_from(container).ok().and_then(|id| books.entries.get_mut(id)) else { return };
    let Ok(object) = u32::try_from(object) else { return };
    let Some(count) = entry.contents.get_mut(&object) else { return };
    *count -= 1;
    if *count == 0 {
        entry.contents.remove(&object);
    }
    books.unstore(object, 1);
}

/// The object behind a static of the executable: `held` if there is none yet.
pub(crate) fn settle_static(offset: u64, held: Option<Arc<Held>>) -> Option<Arc<Held>> {
    // A handle that is not used must not end under the lock, which its end takes.
    let mut books = books();
    let settled = match (books.statics.get(&offset), &held) {
        (Some(first), _) => Some(Arc::clone(first)),
        (None, Some(held)) => {
            books.statics.insert(offset, Arc::clone(held));
            Some(Arc::clone(held))
        }
        (None, None) => None,
    };
    drop(books);
    settled
}

/// What the shared objects of this program take: see [`shared_usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SharedUsage {
    /// How many there are: `SharedVec`s and `SharedSlice`s with elements, values, arrays, dictionaries and so on.
    pub objects: usize,
    /// Bytes that they were given. A page that nobody has touched takes no memory.
    pub bytes: u64,
}

/// What the shared objects of this program take, in all its processes. In a worker process, which does not know, zeros.
///
/// ```
/// use parallel_runtime::{SharedVec, shared_usage};
///
/// let before = shared_usage().bytes;
/// let numbers = SharedVec::<u64>::zeroed(1000);
/// assert_eq!(shared_usage().bytes, before + 8000);
/// drop(numbers);
/// assert_eq!(shared_usage().bytes, before);
/// ```
pub fn shared_usage() -> SharedUsage {
    let books = books();
    let alive = books.entries.iter().filter(|entry| entry.memory.is_some());
    alive.fold(SharedUsage::default(), |usage, entry| SharedUsage {
        objects: usage.objects + 1,
        bytes: usage.bytes + entry.len + entry.more.iter().map(Block::len).sum::<u64>(),
    })
}
