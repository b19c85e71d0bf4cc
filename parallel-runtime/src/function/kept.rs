//! What workers keep: the values of `state`, one on each thread that runs tasks.
//!
//! A value is made on the thread that needs it and never leaves it, so it need not be `Send`. Only an `async fn`, whose future may be polled by
//! several threads, holds it across them, and then the compiler asks for `Send + Sync`.
//!
//! A value that is lent to a task counts its borrows, as a `RefCell` does: a task may call other functions of the same thread that want the same value. A
//! task that panics marks it as spoilt, and the next task that needs it makes a new one.

use std::any::{Any, TypeId, type_name};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::pool_state::PoolState;
use crate::error::TaskError;
use crate::ipc::board::layout::phase;
use crate::ipc::link::InPhase;
use crate::panics;

/// Which value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// That of the function that makes it, which has a type of its own.
    Maker(TypeId),
    /// That of a pool.
    Pool(u64),
}

struct Entry {
    key: Key,
    /// An `Arc<Kept<S>>`; `None` while it is being made.
    value: Option<Box<dyn AnyKept>>,
}

/// The values of this thread, in the order in which they were made.
#[derive(Default)]
struct Store(Vec<Entry>);

impl Drop for Store {
    fn drop(&mut self) {
        drop_each(std::mem::take(&mut self.0));
    }
}

/// The last one first: it may use an earlier one. What their destructors do wrong is not ours.
fn drop_each(mut entries: Vec<Entry>) {
    while let Some(entry) = entries.pop() {
        panics::discard(|| drop(entry));
    }
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store(Vec::new())) };
    /// How many this thread has made so far.
    static MADE: Cell<u64> = const { Cell::new(0) };
    /// Whether a panic has spoilt one that was made.
    static HAS_SPOILT: Cell<bool> = const { Cell::new(false) };
    /// How many there are in `POOLS`. It needs no destructor, so it is quick to look at.
    static NOTED: Cell<usize> = const { Cell::new(0) };
    /// The states of the pools whose tasks this thread is in the middle of, the innermost last.
    static POOLS: RefCell<Vec<Option<Arc<PoolState>>>> = const { RefCell::new(Vec::new()) };
}

/// This thread runs a task of a pool as long as this lives.
pub(crate) struct InPool {
    is_noted: bool,
}

impl InPool {
    /// A pool without a state is noted only where it hides that of another one: most programs have none, and pay for none.
    #[inline(always)]
    pub(crate) fn new(state: Option<&Arc<PoolState>>) -> Self {
        let is_noted = state.is_some() || NOTED.get() > 0;
        if is_noted {
            Self::note(state);
        }
        Self { is_noted }
    }

    #[cold]
    fn note(state: Option<&Arc<PoolState>>) {
        NOTED.set(NOTED.get() + 1);
        POOLS.with_borrow_mut(|pools| pools.push(state.cloned()));
    }

    #[cold]
    fn forget() {
        NOTED.set(NOTED.get() - 1);
        let last = POOLS.with_borrow_mut(Vec::pop);
        drop(last);
    }
}

impl Drop for InPool {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_noted {
            Self::forget();
        }
    }
}

/// How many values this thread has made so far.
pub(crate) fn made() -> u64 {
    MADE.get()
}

/// Whether a task of this thread has panicked while it used a value.
pub(crate) fn has_spoilt() -> bool {
    HAS_SPOILT.get()
}

/// From now on as if none had.
pub(crate) fn forget_spoilt() {
    HAS_SPOILT.set(false);
}

/// Drops all that this thread keeps. No task of it runs.
pub(crate) fn drop_all() {
    // Not while the store is borrowed: a destructor may call a function that wants a value.
    let entries = STORE.with_borrow_mut(|store| std::mem::take(&mut store.0));
    drop_each(entries);
}

/// A value, and who uses it.
struct Kept<S> {
    /// How many borrow it; -1 if one does exclusively.
    borrows: AtomicI32,
    /// A task that used it has panicked.
    spoilt: AtomicBool,
    value: UnsafeCell<S>,
}

// SAFETY: the value is reached through `Shared`, which gives `&S`, by any number of threads, and through `Exclusive`, which gives `&mut S`, by one: `borrows`
// sees to that with atomic operations whose orderings make what one did visible to the next. Moving the last `Arc` to another thread drops the value there.
unsafe impl<S: Send + Sync> Sync for Kept<S> {}

/// `&mut S` for a task.
struct Exclusive<S> {
    /// `None` only while this is dropped.
    kept: Option<Arc<Kept<S>>>,
    was_panicking: bool,
}

/// `&S` for a task.
#[doc(hidden)]
pub struct Shared<S> {
    /// `None` only while this is dropped.
    kept: Option<Arc<Kept<S>>>,
    was_panicking: bool,
}

impl<S: 'static> Exclusive<S> {
    /// `None` if it is borrowed.
    fn new(kept: Arc<Kept<S>>) -> Option<Self> {
        kept.borrows.compare_exchange(0, -1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Self { kept: Some(kept), was_panicking: std::thread::panicking() })
    }
}

impl<S> Deref for Exclusive<S> {
    type Target = S;

    fn deref(&self) -> &S {
        // SAFETY: `borrows` is -1 as long as this lives, so there is no other borrow.
        unsafe { &*value_of(&self.kept).get() }
    }
}

impl<S> DerefMut for Exclusive<S> {
    fn deref_mut(&mut self) -> &mut S {
        // SAFETY: as above, and this is borrowed exclusively.
        unsafe { &mut *value_of(&self.kept).get() }
    }
}

impl<S> Drop for Exclusive<S> {
    fn drop(&mut self) {
        end_borrow(self.kept.take(), self.was_panicking, |borrows| borrows.store(0, Ordering::Release));
    }
}

impl<S: 'static> Shared<S> {
    /// `None` if it is borrowed exclusively.
    fn new(kept: Arc<Kept<S>>) -> Option<Self> {
        let one_more = |borrows: i32| (borrows >= 0).then(|| borrows.checked_add(1)).flatten();
        kept.borrows.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).ok()?;
        Some(Self { kept: Some(kept), was_panicking: std::thread::panicking() })
    }
}

impl<S> Deref for Shared<S> {
    type Target = S;

    fn deref(&self) -> &S {
        // SAFETY: `borrows` is greater than 0 as long as this lives, so there is no exclusive borrow.
        unsafe { &*value_of(&self.kept).get() }
    }
}

impl<S> Drop for Shared<S> {
    fn drop(&mut self) {
        end_borrow(self.kept.take(), self.was_panicking, |borrows| _ = borrows.fetch_sub(1, Ordering::Release));
    }
}

impl<S> std::fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn value_of<S>(kept: &Option<Arc<Kept<S>>>) -> &UnsafeCell<S> {
    &kept.as_ref().expect("it is there until this is dropped").value
}

fn end_borrow<S>(kept: Option<Arc<Kept<S>>>, was_panicking: bool, end: impl FnOnce(&AtomicI32)) {
    let Some(kept) = kept else { return };
    let is_spoilt = std::thread::panicking() && !was_panicking;
    if is_spoilt {
        kept.spoilt.store(true, Ordering::Relaxed);
        HAS_SPOILT.set(true);
    }
    end(&kept.borrows);
    if is_spoilt {
        drop_spoilt();
        // This may be the last that has it. A panic of its destructor must not meet the one that goes on here.
        panics::discard(|| drop(kept));
    }
}

/// Drops the values of this thread that a panic has spoilt, unless something else borrows them.
fn drop_spoilt() {
    let spoilt = STORE.try_with(|store| {
        let Ok(mut store) = store.try_borrow_mut() else { return Vec::new() };
        let is_over = |entry: &mut Entry| entry.value.as_ref().is_some_and(|value| value.is_spoilt());
        store.0.extract_if(.., is_over).collect()
    });
    drop_each(spoilt.unwrap_or_default());
}

/// What can be asked of a value whose type is not known.
trait AnyKept {
    fn as_any(&self) -> &dyn Any;
    fn is_spoilt(&self) -> bool;
}

impl<S: 'static> AnyKept for Arc<Kept<S>> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Relaxed)
    }
}

/// What a function says about its state.
struct Wanted<'w, F> {
    function: &'static str,
    make: Option<&'w F>,
}

impl<F: Fn() -> S + 'static, S: 'static> Wanted<'_, F> {
    /// The value of this thread, made now if it has none.
    ///
    /// # Panics
    ///
    /// The task ends, with an error, if there is nothing to make it by, or if that fails.
    fn find(&self) -> Arc<Kept<S>> {
        let pool = POOLS.with_borrow(|pools| pools.last().cloned().flatten());
        let pool = pool.filter(|pool| pool.is_of::<S>() || self.make.is_none());
        let key = match (&pool, self.make) {
            (Some(pool), _) if pool.is_of::<S>() => Key::Pool(pool.id()),
            (None, Some(_)) => Key::Maker(TypeId::of::<F>()),
            (pool, _) => panics::end_task(TaskError::NoState {
                function: self.function,
                expected: type_name::<S>().to_owned(),
                found: pool.as_ref().map(|pool| pool.type_name().to_owned()),
            }),
        };
        let found = STORE.with_borrow(|store| {
            let entry = store.0.iter().find(|entry| entry.key == key)?;
            let Some(value) = &entry.value else {
                panic!("the `state` of `{}` is just being made: what makes it cannot use it", self.function)
            };
            let kept = value.as_any().downcast_ref::<Arc<Kept<S>>>().expect("a key stands for one type");
            (!kept.spoilt.load(Ordering::Relaxed)).then(|| Arc::clone(kept))
        });
        found.unwrap_or_else(|| self.make_for(key, pool.as_deref()))
    }

    #[cold]
    fn make_for(&self, key: Key, pool: Option<&PoolState>) -> Arc<Kept<S>> {
        /// Removes the entry of a value that could not be made.
        struct Making(Key, bool);
        impl Drop for Making {
            fn drop(&mut self) {
                if !self.1 {
                    STORE.with_borrow_mut(|store| store.0.retain(|entry| entry.key != self.0));
                }
            }
        }
        let spoilt: Vec<Entry> = STORE.with_borrow_mut(|store| {
            let spoilt = store.0.extract_if(.., |entry| entry.key == key).collect();
            store.0.push(Entry { key, value: None });
            spoilt
        });
        let mut making = Making(key, false);
        drop_each(spoilt);
        let _phase = InPhase::new(phase::STATE);
        let made = panics::catch(|| match (pool, self.make) {
            (Some(pool), _) => pool.make::<S>(),
            (None, Some(make)) => make(),
            (None, None) => unreachable!("it has no key"),
        });
        let value = match made {
            Ok(value) => value,
            Err(caught) => panics::end_task(caught.into_state_error(self.function)),
        };
        let kept = Kept { borrows: AtomicI32::new(0), spoilt: AtomicBool::new(false), value: UnsafeCell::new(value) };
        let kept = Arc::new(kept);
        STORE.with_borrow_mut(|store| {
            if let Some(entry) = store.0.iter_mut().find(|entry| entry.key == key) {
                entry.value = Some(Box::new(Arc::clone(&kept)));
            }
        });
        making.1 = true;
        MADE.set(MADE.get() + 1);
        kept
    }

    fn in_use(&self) -> ! {
        panic!(
            "the `state` of `{}` is in use by the task that makes this call: pass on what it needs, or take `&` instead of `&mut` in both",
            self.function
        )
    }
}

/// Runs `run` with the exclusive use of what this thread keeps for a function: a value that `make` makes, or the state of the pool.
#[doc(hidden)]
pub fn with_state<S: 'static, F: Fn() -> S + 'static, R>(
    function: &'static str,
    make: Option<F>,
    run: impl FnOnce(&mut S) -> R,
) -> R {
    let wanted = Wanted { function, make: make.as_ref() };
    let mut state = Exclusive::new(wanted.find()).unwrap_or_else(|| wanted.in_use());
    run(&mut state)
}

/// The same without exclusive use.
#[doc(hidden)]
pub fn with_shared_state<S: 'static, F: Fn() -> S + 'static, R>(
    function: &'static str,
    make: Option<F>,
    run: impl FnOnce(&S) -> R,
) -> R {
    run(&shared_state(function, make))
}

/// The same for the future of an `async fn`.
#[doc(hidden)]
pub fn shared_state<S: 'static, F: Fn() -> S + 'static>(function: &'static str, make: Option<F>) -> Shared<S> {
    let wanted = Wanted { function, make: make.as_ref() };
    Shared::new(wanted.find()).unwrap_or_else(|| wanted.in_use())
}

/// Makes it now, unless it is there, before the task that needs it begins.
#[doc(hidden)]
pub fn keep_state<S: 'static, F: Fn() -> S + 'static>(
    function: &'static str,
    make: Option<F>,
) -> Result<(), TaskError> {
    let wanted = Wanted { function, make: make.as_ref() };
    panics::catch(|| drop(wanted.find())).map_err(|caught| caught.into_error(function))
}

/// The same for the state of the pool whose task this thread is in the middle of.
pub(super) fn keep_state_of_pool<S: 'static>() -> Result<(), TaskError> {
    keep_state::<S, fn() -> S>("the pool", None)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    thread_local! {
        static MAKES: Cell<u32> = const { Cell::new(0) };
        static DROPPED: Cell<u32> = const { Cell::new(0) };
    }

    /// Is not `Send`.
    struct Counted(Rc<Cell<u32>>);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.set(DROPPED.get() + 1);
        }
    }

    fn make() -> Counted {
        MAKES.set(MAKES.get() + 1);
        Counted(Rc::default())
    }

    fn count() -> u32 {
        with_state("f", Some(make), |counted: &mut Counted| {
            counted.0.set(counted.0.get() + 1);
            counted.0.get()
        })
    }

    fn keeps_any() -> bool {
        STORE.with_borrow(|store| !store.0.is_empty())
    }

    #[test]
    fn a_value_is_made_once_for_each_thread_and_dropped_with_it() {
        for _ in 0..2 {
            std::thread::spawn(|| {
                assert_eq!([count(), count(), count()], [1, 2, 3]);
                assert_eq!((MAKES.get(), DROPPED.get()), (1, 0));
                drop_all();
                assert_eq!((MAKES.get(), DROPPED.get(), keeps_any()), (1, 1, false));
                assert_eq!(count(), 1);
            })
            .join()
            .unwrap();
        }
    }

    #[test]
    fn a_panic_spoils_the_value_that_it_goes_through() {
        let other = || 7_u8;
        with_state("g", Some(other), |seven: &mut u8| *seven += 1);
        assert_eq!(count(), 1);
        let caught = panics::catch(|| with_state("f", Some(make), |_: &mut Counted| panic!("no")));
        assert!(caught.is_err() && DROPPED.get() == 1);
        assert_eq!(count(), 1);
        assert_eq!(MAKES.get(), 2);
        with_state("g", Some(other), |eight: &mut u8| assert_eq!(*eight, 8, "another value is as it was"));
        drop_all();
    }

    #[test]
    fn a_destructor_that_panics_does_no_harm_to_a_panic() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("no, too");
            }
        }
        let caught = panics::catch(|| with_state("f", Some(|| Bomb), |_: &mut Bomb| panic!("no")));
        let error = caught.err().unwrap().into_error("f");
        assert!(error.to_string().ends_with("no"), "{error}");
        assert!(!keeps_any());
    }

    #[test]
    fn a_value_in_use_is_lent_to_readers_only() {
        let make = || 5_u32;
        let read = || with_shared_state("f", Some(make), |five: &u32| *five);
        let change = || with_state("f", Some(make), |five: &mut u32| *five += 1);
        assert_eq!(with_shared_state("f", Some(make), |five: &u32| five + read()), 10);
        assert!(panics::catch(|| with_shared_state("f", Some(make), |_: &u32| change())).is_err());
        assert_eq!(read(), 5);
        assert!(panics::catch(|| with_state("f", Some(make), |_: &mut u32| read())).is_err());
        assert_eq!(read(), 5);
        drop_all();
    }

    #[test]
    fn what_makes_a_value_cannot_use_it() {
        fn make() -> u32 {
            with_state("f", Some(make), |made: &mut u32| *made)
        }
        let error = panics::catch(make).err().unwrap().into_error("f");
        assert!(error.to_string().contains("just being made"), "{error}");
        assert!(!keeps_any());
    }

    #[test]
    fn without_anything_that_makes_it_there_is_an_error() {
        let call = || with_state("f", None::<fn() -> u32>, |number: &mut u32| *number);
        let error = panics::catch(call).unwrap_err().into_error("g");
        assert!(matches!(error, TaskError::NoState { function: "f", .. }), "{error}");
    }
}
