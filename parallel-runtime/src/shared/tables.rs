//! Who uses which shared object: the part of the records that lies in shared memory.
//!
//! A worker may keep a handle after its task, drop it, or die with it; the program frees an object when nothing has it any more.
//! For that each worker has one bit for each object, which it alone sets and clears, and which the program reads.
//!
//! | memory | written by | what |
//! | --- | --- | --- |
//! | `living` | the program | by place: the generation of the process that lives there, 0 for none |
//! | `withdrawn` | that worker, before it lets go of the objects | by place: how many handles it has said that it took out of containers |
//! | an object's `nonce` | the program | which object has this number now, 0 for none |
//! | its `offset`, `len` | the program, before the nonce | where it lies |
//! | its `kind` | the program; the owner of a `Vec` that makes it a `Slice` | what it is |
//! | an object's `orphan` | the program | 1 if only workers may have it, so that the last one has to say when it lets go |
//! | a process's bits | that worker; the program before it is told of a new object, and after its death | the objects that it has |
//!
//! **Letting go.** A worker clears its bit, then reads `orphan`; the program sets `orphan`, then reads the bits. All four steps are
//! sequentially consistent, so one of the two sees the other: either the program finds the bit cleared, or the worker
//! finds that it has to tell. If a worker dies in between, the program looks at all orphans.
//!
//! **Taking.** A worker sets its bit, then compares the nonce; the program takes the nonce away, then reads the bits, and gives it
//! back if one is set. So a worker never has an object that the program has freed.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most processes that can share the arena at one time, the program among them.
const MOST_PROCESSES: u64 = 1 << 13;

/// The most objects at one time.
const MOST_OBJECTS: u64 = 1 << 20;

/// Bits of a token that belong to the code that stores it.
const FLAGS: u64 = 1 << 15 | 1;

/// Which process: its place in the table, and which of all that have had that place.
///
/// Bits 1 to 14 are the place, from bit 16 on there is the generation; bits 0 and 15 are free for the code that stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    /// The generation may be any number; its low 47 bits count, and one of them.
    pub(super) fn new(place: u32, generation: u64) -> Self {
        debug_assert!(u64::from(place) < MOST_PROCESSES);
        Self(u64::from(place) << 1 | (generation << 1 | 1) << 16)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits & !FLAGS)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// That of no process: no generation is even.
    pub(super) const NONE: Self = Self(2 << 16);

    /// Whether it is the program's.
    pub(super) fn is_program(self) -> bool {
        self.place() == 0
    }

    pub(super) fn place(self) -> u32 {
        (self.0 >> 1) as u32 & 0x3fff
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> 16
    }
}

#[repr(C)]
pub(super) struct Object {
    pub(super) nonce: AtomicU64,
    /// Where it lies.
    pub(super) offset: AtomicU64,
    pub(super) len: AtomicU64,
    /// A [`Kind`].
    pub(super) kind: AtomicU32,
    pub(super) orphan: AtomicU32,
}

/// What an object is: a handle of one kind is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Elements with one owner.
    Vec = 1,
    /// Elements that nothing changes any more: what a `Vec` becomes.
    Slice,
    Cells,
    Dict,
    List,
    Queue,
    Lock,
    Event,
    Barrier,
    Semaphore,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Vec,
        Self::Slice,
        Self::Cells,
        Self::Dict,
        Self::List,
        Self::Queue,
        Self::Lock,
        Self::Event,
        Self::Barrier,
        Self::Semaphore,
    ];

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == number)
    }
}

/// How many of each there are.
#[derive(Clone, Copy)]
struct Layout {
    processes: usize,
    objects: usize,
}

impl Layout {
    /// For an arena of `len` bytes, whose memory may be scarce: then the tables must not take much of it.
    fn of(len: u64, scarce: bool) -> Self {
        let (processes, objects) = if len >= 1 << 36 && !scarce {
            (MOST_PROCESSES, MOST_OBJECTS)
        } else {
            (MOST_PROCESSES / 16, MOST_OBJECTS / 256)
        };
        Self { processes: processes as usize, objects: objects as usize }
    }

    fn withdrawn_at(self) -> usize {
        self.processes * size_of::<AtomicU64>()
    }

    fn objects_at(self) -> usize {
        2 * self.processes * size_of::<AtomicU64>()
    }

    fn bits_at(self) -> usize {
        self.objects_at() + self.objects * size_of::<Object>()
    }

    fn size(self) -> usize {
        self.bits_at() + self.processes * self.objects / 8
    }
}

/// A view of the tables.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the tables are atomics; the view is a pointer to them.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

impl Tables {
    /// Bytes of the tables of an arena of `len` bytes.
    pub(super) fn size(len: u64, scarce: bool) -> u64 {
        Layout::of(len, scarce).size() as u64
    }

    /// # Safety
    ///
    /// `Tables::size(len, scarce)` bytes from `start`, aligned to a page, stay mapped and hold tables: zeros, or what views of the same
    /// length made of them.
    pub(super) unsafe fn new(start: NonNull<u8>, len: u64, scarce: bool) -> Self {
        Self { start, layout: Layout::of(len, scarce) }
    }

    fn part<T>(&self, offset: usize, len: usize) -> &'static [T] {
        debug_assert!(offset + len * size_of::<T>() <= self.layout.size());
        // SAFETY: all parts lie inside the tables, which are mapped (the contract of `new`).
        let start = unsafe { self.start.add(offset) }.cast::<T>();
        // SAFETY: the parts are arrays of atomics that start at multiples of 16 bytes from a page; any bytes are valid for them,
        // they may be changed by others, and they stay mapped.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    pub(super) fn most_objects(&self) -> usize {
        self.layout.objects
    }

    pub(super) fn most_processes(&self) -> usize {
        self.layout.processes
    }

    fn living(&self) -> &'static [AtomicU64] {
        self.part(0, self.layout.processes)
    }

    /// How many handles the process at a place has said, or is about to say, that it took out of containers.
    pub(super) fn withdrawn(&self, place: u32) -> &'static AtomicU64 {
        &self.part::<AtomicU64>(self.layout.withdrawn_at(), self.layout.processes)[place as usize]
    }

    /// Program: a process has, or had, this token.
    pub(super) fn set_living(&self, token: Token, lives: bool) {
        let generation = if lives { token.generation() } else { 0 };
        self.living()[token.place() as usize].store(generation, Ordering::SeqCst);
    }

    /// Whether the process of a token may still do something. What is no token at all is dead.
    pub(crate) fn is_living(&self, token: Token) -> bool {
        let generation = self.living().get(token.place() as usize).map_or(0, |living| living.load(Ordering::SeqCst));
        generation != 0 && generation == token.generation()
    }

    /// # Panics
    ///
    /// If there can be no such object.
    pub(super) fn object(&self, id: u32) -> &'static Object {
        &self.part::<Object>(self.layout.objects_at(), self.layout.objects)[id as usize]
    }

    /// Whether this number can be an object's.
    pub(super) fn is_possible(&self, id: u32) -> bool {
        (id as usize) < self.layout.objects
    }

    fn bits(&self, place: u32) -> &'static [AtomicU64] {
        let each = self.layout.objects / 64;
        let all = self.part::<AtomicU64>(self.layout.bits_at(), self.layout.processes * each);
        &all[place as usize * each..][..each]
    }

    pub(super) fn set_bit(&self, token: Token, id: u32) {
        self.bits(token.place())[id as usize / 64].fetch_or(1 << (id % 64), Ordering::SeqCst);
    }

    pub(super) fn clear_bit(&self, token: Token, id: u32) {
        self.bits(token.place())[id as usize / 64].fetch_and(!(1 << (id % 64)), Ordering::SeqCst);
    }

    pub(super) fn has_bit(&self, place: u32, id: u32) -> bool {
        self.bits(place)[id as usize / 64].load(Ordering::SeqCst) & 1 << (id % 64) != 0
    }

    /// Program: clears the bits of a dead process for the first `objects` objects, and gives which were set.
    pub(super) fn clear_all(&self, token: Token, objects: usize) -> Vec<u32> {
        let mut had = Vec::new();
        for (word, bits) in self.bits(token.place())[..objects.div_ceil(64)].iter().enumerate() {
            // Not a write to a page that nothing has touched.
            if bits.load(Ordering::SeqCst) == 0 {
                continue;
            }
            let mut left = bits.swap(0, Ordering::SeqCst);
            while left != 0 {
                had.push(word as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Page(#[expect(dead_code, reason = "it is used through a pointer")] [u8; 4096]);

    fn tables() -> Tables {
        let len = 1 << 24;
        let pages = Tables::size(len, true).div_ceil(4096) as usize;
        let memory: &'static mut [Page] = (0..pages).map(|_| Page([0; 4096])).collect::<Vec<_>>().leak();
        // SAFETY: the memory is leaked, zeroed and aligned.
        unsafe { Tables::new(NonNull::from(memory).cast(), len, true) }
    }

    #[test]
    fn a_token_is_alive_until_its_place_is_taken_by_another() {
        let tables = tables();
        let (first, second) = (Token::new(5, 7), Token::new(5, 8));
        assert!(!tables.is_living(first));
        tables.set_living(first, true);
        assert!(tables.is_living(first) && !tables.is_living(second));
        tables.set_living(first, false);
        assert!(!tables.is_living(first));
        tables.set_living(second, true);
        assert!(!tables.is_living(first) && tables.is_living(second));
    }

    #[test]
    fn what_is_no_token_is_dead() {
        let tables = tables();
        assert!(!tables.is_living(Token::from_bits(0)));
        assert!(!tables.is_living(Token::from_bits(u64::MAX)));
    }

    #[test]
    fn bits_of_one_process_are_not_those_of_another() {
        let tables = tables();
        let (one, other) = (Token::new(1, 1), Token::new(2, 1));
        for id in [0, 63, 64, 1000] {
            tables.set_bit(one, id);
        }
        tables.set_bit(other, 63);
        tables.clear_bit(one, 64);
        assert!(tables.has_bit(1, 63) && !tables.has_bit(1, 64) && tables.has_bit(2, 63));
        assert_eq!(tables.clear_all(one, 1001), [0, 63, 1000]);
        assert!(tables.has_bit(2, 63) && !tables.has_bit(1, 0));
    }
}
