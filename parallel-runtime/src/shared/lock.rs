//! A lock in shared memory that outlives its holder.
//!
//! Its word names the process that holds it. A process that waits sleeps for a while at most, and then looks whether the holder
//! still lives: if not, the lock is taken from it. So nothing needs to be told of a death, and no list of held locks
//! has to be right at every instant.
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | a [`Token`] | that process holds it |
//! | the same, with bit 0 | and a thread may sleep until it is free |
//! | the same, with bit 15 | and that process has looked whether it does hold it |
//!
//! Who writes: a process that wants it, 0 → itself, or a dead holder → itself; a waiter, holder → holder with bit 0; the process that it names, which
//! does not hold it, → with bit 15, and then → itself, or → [`Token::NONE`]; the holder, anything → 0. All by compare-and-swap or swap, so one of
//! two that try at the same time wins. Acquire and release order what the holders do.
//!
//! If the process dies right here: before its swap to itself, nothing has happened. After it, what the lock guards may be half
//! changed: the process that takes the lock from it is told ([`Taken::FromTheDead`]), mends it first, and if that one dies too the next
//! does the same. After its swap to 0 but before it has woken a sleeper: the sleeper looks for itself after [`LOOK`].
//!
//! Any process can write any word. A name in it is believed only as far as the process that it names confirms it: that finds out, when it
//! waits itself, that none of its threads holds the lock ([`holds`]), and takes it like one of the dead; and a worker that has
//! waited for the program for [`DOUBT`] asks it to look.
//!
//! It is not fair: a holder that comes back at once often finds it free, which moves much more than handing it over each time.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::holds;
use super::space::Space;
use super::tables::Token;
use crate::sys::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::sync::patience;
use crate::sys::{fork, futex};

/// How long a process sleeps before it looks whether the holder lives, and whether it was to be woken.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// How long a worker waits for the program before it asks whether that does hold the lock.
const DOUBT: Duration = Duration::from_millis(500);

/// The process that it names looks whether it holds the lock: see [`Lock::doubt`]. No place in a token is so large.
const DOUBTED: u64 = 1 << 15;

/// A thread may sleep.
const WAITED_FOR: u64 = 1;

/// Rounds of spinning, each twice as long as the one before; then rounds of giving the processor away.
const SPINS: u32 = 7;
const YIELDS: u32 = 20;

#[derive(Default)]
#[repr(C)]
pub(crate) struct Lock {
    word: AtomicU64,
    /// 1 if a holder died while code of the user's ran, or panicked, and nothing has cleared it since.
    poisoned: AtomicU32,
    /// The number of a hold during which code of the user's runs, 0 during others. Written by the holder only.
    user: AtomicU32,
}

/// How a lock was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Free,
    /// Its holder died: what it guards is to be mended.
    FromTheDead,
}

impl Lock {
    /// Takes it if it is free.
    #[inline(always)]
    fn try_take(&self, me: Token) -> bool {
        self.exchange(0, me.bits())
    }

    /// Takes it if its word is this one.
    #[inline(always)]
    fn exchange(&self, from: u64, to: u64) -> bool {
        holds::add(self);
        let taken = self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !taken {
            holds::remove(self);
        }
        taken
    }

    /// Takes it; `None` if `deadline` passes before.
    ///
    /// # Panics
    ///
    /// In the child of a program that was forked: it would hold the lock in its parent's name, and its end would not free it.
    #[inline]
    #[track_caller]
    pub(super) fn take(&self, space: &Space, deadline: Option<Instant>) -> Option<Taken> {
        check_fork();
        if self.try_take(space.me()) { Some(Taken::Free) } else { self.wait(space, deadline) }
    }

    #[cold]
    #[track_caller]
    fn wait(&self, space: &Space, deadline: Option<Instant>) -> Option<Taken> {
        check_own(self);
        let me = space.me();
        if back_off(|| self.word.load(Ordering::Relaxed) == 0 && self.try_take(me)) {
            return Some(Taken::Free);
        }
        let mut asked = Instant::now();
        let mut has_slept = false;
        loop {
            let word = self.word.load(Ordering::Relaxed);
            // Others may sleep as well, so that the process that comes from here has to wake one.
            let mine = me.bits() | WAITED_FOR;
            if word == 0 {
                if self.exchange(0, mine) {
                    return Some(Taken::Free);
                }
                continue;
            }
            let holder = Token::from_bits(word);
            let is_dead = !space.is_living(holder);
            let is_ours = !is_dead && has_slept && holder == me;
            if is_dead || is_ours {
                let taken = if is_dead { self.exchange(word, mine) } else { self.take_if_forged(me, mine) };
                if taken {
                    // What our own steps leave half done is mended, and harms nothing.
                    let was_in_use = self.user.swap(0, Ordering::Relaxed) != 0;
                    // A name that was forged says that something has written over it, and perhaps over what it guards.
                    if was_in_use || is_ours || holder == Token::NONE {
                        self.poison();
                    }
                    return Some(Taken::FromTheDead);
                }
                if is_dead {
                    continue;
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            let waited_for = word | WAITED_FOR;
            if word == waited_for
                || self.word.compare_exchange(word, waited_for, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                futex::wait_low(&self.word, waited_for, Some(look(deadline)));
                has_slept = true;
                if holder != me && holder.is_program() && asked.elapsed() >= DOUBT {
                    asked = Instant::now();
                    holds::ask_program(space, self);
                }
            }
        }
    }

    /// Lets it go.
    #[inline]
    pub(super) fn release(&self) {
        let before = self.word.swap(0, Ordering::Release);
        holds::remove(self);
        if before & WAITED_FOR != 0 {
            futex::wake_low(&self.word, 1);
        }
    }

    /// Takes it if its word names this process although none of its threads holds it.
    #[cold]
    fn take_if_forged(&self, me: Token, mine: u64) -> bool {
        let _turn = holds::turn();
        self.doubt(me).is_some_and(|doubted| self.exchange(doubted, mine))
    }

    /// Program: if the word names this process although none of its threads holds the lock, it is a dead one's from now on, and goes to the process
    /// that waits for it.
    pub(super) fn deny(&self, me: Token) {
        let _turn = holds::turn();
        if let Some(doubted) = self.doubt(me) {
            let _ = self.word.compare_exchange(doubted, Token::NONE.bits(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Marks a word that names this process, and gives it, marked, if none of its threads holds the lock.
    ///
    /// The mark tells this hold from the next one: the end of a hold clears it, one thread at a time sets it, and a thread that holds the lock has had
    /// it in its list since before its name was in the word. So if it is in no list after the mark was set, then as long as the mark
    /// is there no thread has held it.
    fn doubt(&self, me: Token) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        let doubted = word | DOUBTED;
        let is_marked = Token::from_bits(word) == me
            && self.word.compare_exchange(word, doubted, Ordering::Acquire, Ordering::Relaxed).is_ok();
        (is_marked && !holds::may_hold(self)).then_some(doubted)
    }

    pub(super) fn poison(&self) {
        self.poisoned.store(1, Ordering::Relaxed);
    }

    /// Whether its holder is dead: the process that takes it mends what it guards.
    pub(super) fn is_orphaned(&self, space: &Space) -> bool {
        let word = self.word.load(Ordering::Acquire);
        word != 0 && !space.is_living(Token::from_bits(word))
    }

    pub(super) fn is_poisoned(&self, space: &Space) -> bool {
        self.poisoned.load(Ordering::Relaxed) != 0
            || (self.user.load(Ordering::Relaxed) != 0 && self.is_orphaned(space))
    }

    pub(super) fn clear_poison(&self) {
        self.poisoned.store(0, Ordering::Relaxed);
    }
}

/// # Panics
///
/// In the child of a program that was forked.
#[inline(always)]
#[track_caller]
pub(super) fn check_fork() {
    if let Err(error) = fork::check() {
        panic!("{error}");
    }
}

/// Spins, and looks ever more seldom, so that the others keep the cache line; then gives the processor away. False if `done` was not
/// true by the end.
pub(super) fn back_off(mut done: impl FnMut() -> bool) -> bool {
    for round in 0..patience(SPINS + YIELDS) {
        if round < SPINS {
            (0..8_u32 << round).for_each(|_| std::hint::spin_loop());
        } else {
            std::thread::yield_now();
        }
        if done() {
            return true;
        }
    }
    false
}

/// Sleeps while a word is as it was seen, for [`LOOK`] at most.
pub(super) fn sleep(word: &AtomicU32, seen: u32, deadline: Option<Instant>) {
    futex::wait(word, seen, Some(look(deadline)));
}

/// When to look next.
fn look(deadline: Option<Instant>) -> Instant {
    let look = Instant::now() + LOOK;
    deadline.map_or(look, |deadline| deadline.min(look))
}

thread_local! {
    /// The locks that this thread holds while code of the user's runs, and the numbers of the holds.
    static OWN: RefCell<Vec<(*const Lock, u32)>> = const { RefCell::new(Vec::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
}

/// A number for a hold: never 0, and hardly that of another thread, here or in another process.
fn next_number() -> u32 {
    LAST.with(|last| {
        if last.get() == 0 {
            last.set(RandomState::new().hash_one(std::process::id()) as u32);
        }
        let number = last.get().wrapping_add(1).max(1);
        last.set(number);
        number
    })
}

/// Whether this thread holds a lock while code of the user's runs.
pub(super) fn is_own(lock: &Lock) -> bool {
    // A guard that was forgotten stays in the list, but its lock may be another by now. What a forked child has there is its parent's.
    let hold = (std::ptr::from_ref(lock), lock.user.load(Ordering::Relaxed));
    fork::check().is_ok() && OWN.try_with(|own| own.borrow().contains(&hold)).unwrap_or(false)
}

/// # Panics
///
/// If this thread holds the lock: it would wait for itself.
#[track_caller]
fn check_own(lock: &Lock) {
    assert!(
        !is_own(lock),
        "this thread already holds the lock of this shared object, and would wait for itself: drop its guard first, or do \
         all of it through the guard"
    );
}

/// What stays on the thread where it was made.
struct BoundToItsThread(#[expect(dead_code, reason = "it is there for its type")] *const ());

/// A lock that this thread holds. Its end lets the lock go; if that comes by a panic, the lock is poisoned.
pub(crate) struct Holding<'l> {
    lock: &'l Lock,
    panicking: bool,
    /// Code of the user's may run meanwhile.
    user: bool,
    /// It ends on the thread on which it began: that thread's list says so.
    _thread: PhantomData<BoundToItsThread>,
}

// SAFETY: a shared reference to it can only be asked whether a panic has begun on the thread that asks.
unsafe impl Sync for Holding<'_> {}

impl<'l> Holding<'l> {
    /// Takes a lock for our own steps, which do not panic and take no other lock.
    #[inline]
    #[track_caller]
    pub(crate) fn briefly(lock: &'l Lock, space: &Space) -> (Self, Taken) {
        let taken = lock.take(space, None).expect("there is no deadline");
        (Self { lock, panicking: true, user: false, _thread: PhantomData }, taken)
    }

    /// Takes a lock while code of the user's runs.
    #[inline]
    #[track_caller]
    pub(super) fn for_user(lock: &'l Lock, space: &Space, deadline: Option<Instant>) -> Option<(Self, Taken)> {
        let taken = lock.take(space, deadline)?;
        let number = next_number();
        lock.user.store(number, Ordering::Relaxed);
        // The thread's own variables may be gone: then no process looks.
        let _ = OWN.try_with(|own| own.borrow_mut().push((lock, number)));
        Some((Self { lock, panicking: std::thread::panicking(), user: true, _thread: PhantomData }, taken))
    }

    /// Whether a panic has begun since.
    pub(super) fn is_panicking(&self) -> bool {
        !self.panicking && std::thread::panicking()
    }
}

impl Drop for Holding<'_> {
    #[inline]
    fn drop(&mut self) {
        if fork::check().is_err() {
            // It is the parent's.
            return;
        }
        if self.user {
            if self.is_panicking() {
                self.lock.poison();
            }
            let _ = OWN.try_with(|own| {
                let mut own = own.borrow_mut();
                let position = own.iter().rposition(|(lock, _)| std::ptr::eq(*lock, self.lock));
                if let Some(position) = position {
                    own.swap_remove(position);
                }
            });
            #[cfg(test)]
            if DYING.get() {
                return;
            }
            self.lock.user.store(0, Ordering::Relaxed);
        }
        #[cfg(test)]
        if DYING.get() {
            return;
        }
        self.lock.release();
    }
}

#[cfg(test)]
thread_local! {
    /// This thread plays a process that dies: its locks stay as they are.
    pub(super) static DYING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
impl Lock {
    /// Its holder is a process that is gone.
    pub(super) fn give_to_the_dead(&self) {
        self.word.store(Token::new(63, 99).bits(), Ordering::SeqCst);
    }
}
