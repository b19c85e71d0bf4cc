//! What is left by a process that dies: every operation, ended before each of its writes to shared memory.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::container::Container;
use super::dict::SharedDict;
use super::list::SharedList;
use super::queue::SharedQueue;
use super::words::{Death, LEFT};
use crate::shared::handle::Reference;
use crate::shared::lock::DYING;
use crate::shared::objects;
use crate::shared::slice::SharedSlice;

/// Runs an operation that dies before its `writes`th write. False if it ended before that.
fn dies_after(writes: u32, operation: impl FnOnce()) -> bool {
    LEFT.set(Some(writes));
    let ended = catch_unwind(AssertUnwindSafe(operation));
    LEFT.set(None);
    DYING.set(false);
    match ended {
        Ok(()) => false,
        Err(payload) if payload.is::<Death>() => true,
        Err(payload) => resume_unwind(payload),
    }
}

/// A container whose contents can be looked at.
trait Contents: Clone {
    type Value: PartialEq + std::fmt::Debug;
    fn container(&self) -> &Container;
    fn contents(&self) -> Self::Value;
}

impl Contents for SharedDict<u64, String> {
    type Value = HashMap<u64, String>;
    fn container(&self) -> &Container {
        self.container_for_tests()
    }
    fn contents(&self) -> Self::Value {
        let map = self.to_map();
        assert_eq!(map.len(), self.len(), "the number of elements is that of the elements");
        map
    }
}

impl Contents for SharedList<String> {
    type Value = Vec<String>;
    fn container(&self) -> &Container {
        self.container_for_tests()
    }
    fn contents(&self) -> Self::Value {
        self.to_vec()
    }
}

impl Contents for SharedQueue<String> {
    type Value = Vec<String>;
    fn container(&self) -> &Container {
        self.container_for_tests()
    }
    fn contents(&self) -> Self::Value {
        // All out, and in again in the same order.
        let all: Vec<String> = std::iter::from_fn(|| self.try_pop().unwrap()).collect();
        all.iter().for_each(|element| self.try_push(element.clone()).unwrap());
        all
    }
}

/// `operation` on what `make` makes: wherever it dies, the contents are those from before or those from after, and the container goes on
/// to work without losing memory.
fn survives_every_death<C: Contents>(make: impl Fn() -> C, operation: impl Fn(&C)) {
    let expected = {
        let container = make();
        let before = container.contents();
        operation(&container);
        (before, container.contents())
    };
    let mut deaths = 0;
    loop {
        let container = make();
        let mut size = memory(&container);
        if !dies_after(deaths, || operation(&container)) {
            break;
        }
        container.container().head().lock.give_to_the_dead();
        let contents = container.contents();
        assert!(contents == expected.0 || contents == expected.1, "{contents:?} after {deaths} writes");
        // It goes on to work, and no memory is lost: again and again it needs no more than once.
        for round in 0..20 {
            operation(&container);
            if round == 10 {
                size = memory(&container);
            }
        }
        // What grows by its contents may grow; but not beyond what they need.
        let grown = memory(&container) as f64 / size as f64;
        assert!(grown < 4.0, "it has grown {grown} times after {deaths} writes");
        deaths += 1;
    }
    assert!(deaths > 2, "the operation writes to shared memory");
}

/// Bytes of all chunks.
fn memory<C: Contents>(container: &C) -> u64 {
    container.container().open(|_| ()).heap.size().max(1)
}

fn text(number: u64) -> String {
    "x".repeat(number as usize * 7 % 90)
}

fn dict(len: u64) -> SharedDict<u64, String> {
    (0..len).map(|key| (key, text(key))).collect()
}

#[test]
fn a_dict_survives_a_death_at_every_write() {
    for len in [0, 1, 5, 13, 14, 15, 28] {
        // New keys, with growth; the same key again; removals; everything.
        survives_every_death(|| dict(len), |dict| drop(dict.insert(1000, text(11))));
        survives_every_death(|| dict(len + 1), |dict| drop(dict.insert(0, text(12))));
        survives_every_death(|| dict(len), |dict| dict.update_or_insert(3, text(2), |text| text.push('y')));
        survives_every_death(|| dict(len + 1), |dict| drop(dict.remove(&0)));
    }
}

#[test]
fn clearing_a_dict_survives_a_death_at_every_write() {
    survives_every_death(|| dict(9), SharedDict::clear);
}

fn list(len: u64) -> SharedList<String> {
    (0..len).map(text).collect()
}

#[test]
fn a_list_survives_a_death_at_every_write() {
    for len in [1, 2, 13, 14, 15, 21] {
        survives_every_death(|| list(len), |list| list.push(text(4)));
        survives_every_death(|| list(len), |list| list.insert(0, text(4)));
        survives_every_death(|| list(len), |list| drop(list.set(len as usize / 2, text(8))));
    }
}

#[test]
fn removals_from_a_list_survive_a_death_at_every_write() {
    let again = |list: &SharedList<String>| {
        for operation in 0..3 {
            if operation == 0 {
                list.push(text(4));
            } else if operation == 1 {
                list.remove(0);
            } else {
                list.insert(0, text(0));
                list.remove(0);
            }
        }
    };
    // Several operations: what is between them is right as well.
    let container = list(5);
    for writes in 0.. {
        if !dies_after(writes, || again(&container)) {
            break;
        }
        container.container().head().lock.give_to_the_dead();
        let contents = container.contents();
        assert!((5..=7).contains(&contents.len()), "{contents:?}");
        assert!(contents.iter().all(|element| element.chars().all(|letter| letter == 'x')));
        container.clear();
        container.clone().extend((0..5).map(text));
    }
}

#[test]
fn a_queue_without_a_bound_survives_a_death_at_every_write_of_its_growth() {
    // How many places there are is the block's business: one of these pushes makes it grow, and some before have wrapped around.
    for len in 12..=40 {
        let make = || {
            let queue = SharedQueue::unbounded();
            (0..7).for_each(|number| queue.push(text(number)).unwrap());
            (0..7).for_each(|_| drop(queue.pop().unwrap()));
            (0..len).for_each(|number| queue.push(text(number)).unwrap());
            queue
        };
        survives_every_death(make, |queue| queue.push(text(6)).unwrap());
    }
}

#[test]
fn a_queue_survives_a_death_at_every_write() {
    let make = |len: u64| {
        let queue = SharedQueue::bounded(100);
        (0..len).for_each(|number| queue.push(text(number)).unwrap());
        queue
    };
    for len in [0, 1, 40] {
        survives_every_death(|| make(len), |queue| queue.push(text(6)).unwrap());
        survives_every_death(|| make(len + 30), |queue| drop(queue.pop().unwrap()));
    }
}

#[test]
fn memory_of_a_dead_process_is_used_again() {
    let dict = dict(3);
    for death in 0..3000 {
        if dies_after(death % 12, || drop(dict.insert(7, "z".repeat(5000)))) {
            dict.container().head().lock.give_to_the_dead();
        }
        dict.remove(&7);
    }
    assert!(memory(&dict) < 100_000, "{} bytes for a dictionary that holds 10,000 at most", memory(&dict));
}

#[test]
fn what_is_free_after_a_death_is_used_for_smaller_blocks() {
    let dict: SharedDict<u64, String> = (0..20).map(|key| (key, "x".repeat(2000))).collect();
    let before = memory(&dict);
    (0..19).for_each(|key| drop(dict.remove(&key)));
    for _ in 0..100 {
        // The process that comes next makes the list of free blocks anew, out of few large ones.
        dict.container().head().lock.give_to_the_dead();
        (0..20).for_each(|key| drop(dict.insert(100 + key, text(key))));
        (0..20).for_each(|key| drop(dict.remove(&(100 + key))));
    }
    assert_eq!(memory(&dict), before);
}

#[test]
fn a_cleared_container_has_its_memory_for_elements_of_any_size() {
    let (dict, list) = (SharedDict::new(), SharedList::new());
    let mut memories = Vec::new();
    for size in [1000, 10, 60, 3000, 200] {
        (0..200_000 / size as u64).for_each(|key| drop(dict.insert(key, "x".repeat(size))));
        (0..200_000 / size).for_each(|_| list.push("x".repeat(size)));
        memories.push((memory(&dict), memory(&list)));
        dict.clear();
        list.clear();
    }
    // The smallest need the most, for what each takes beside its text.
    let most = |memory: u64| memory < 4_000_000;
    assert!(memories.iter().all(|(dict, list)| most(*dict) && most(*list)), "{memories:?}");
    assert_eq!(memories[2], memories[4]);
}

fn sweep(list: &SharedList<SharedSlice<u8>>) {
    let Reference { id, nonce, .. } = list.container_for_tests().handle.reference();
    super::sweep::sweep(id, nonce);
}

fn exists(object: Reference) -> bool {
    objects::named(object.id.into(), object.nonce).is_some()
}

/// Counts how often `operation` died before each of its writes, and the object was freed, and stayed.
fn with_an_object_on_its_way(
    before: u8,
    operation: impl Fn(&SharedList<SharedSlice<u8>>, SharedSlice<u8>),
) -> (u32, u32) {
    let (mut freed, mut stayed) = (0, 0);
    for writes in 0.. {
        let list = SharedList::new();
        let slice = SharedSlice::from_slice(&[1; 100]);
        let object = slice.reference_for_tests();
        list.push(SharedSlice::from_slice(&[0]));
        (0..before).for_each(|_| list.push(slice.clone()));
        let died = dies_after(writes, || operation(&list, slice));
        if !died {
            break;
        }
        list.container_for_tests().head().lock.give_to_the_dead();
        sweep(&list);
        let is_there = list.to_vec().iter().any(|slice| slice.len() == 100);
        assert_eq!(exists(object), is_there, "after {writes} writes");
        freed += u32::from(!is_there);
        stayed += u32::from(is_there);
        drop(list);
        assert!(!exists(object));
    }
    (freed, stayed)
}

#[test]
fn an_object_that_a_dead_process_was_putting_into_a_container_is_freed() {
    let (freed, _) = with_an_object_on_its_way(0, |list, slice| list.push(slice));
    assert!(freed > 0);
    let (freed, stayed) = with_an_object_on_its_way(1, |list, slice| list.push(slice));
    assert!(freed == 0 && stayed > 0);
}

#[test]
fn an_object_that_a_dead_process_was_taking_out_of_a_container_is_freed() {
    let (freed, stayed) = with_an_object_on_its_way(1, |list, slice| {
        drop(slice);
        drop(list.pop());
    });
    assert!(freed > 0 && stayed > 0);
}

#[test]
fn an_object_with_another_holder_is_freed_when_that_holder_lets_go() {
    super::sweep::enable();
    let list = SharedList::new();
    let slice = SharedSlice::from_slice(&[1; 100]);
    let object = slice.reference_for_tests();
    assert!(dies_after(0, || list.push(slice.clone())));
    list.container_for_tests().head().lock.give_to_the_dead();
    sweep(&list);
    assert!(exists(object));
    drop(slice);
    // Another thread looks through the list once more.
    let start = std::time::Instant::now();
    while exists(object) {
        assert!(start.elapsed().as_secs() < 60, "the object stays");
        std::thread::yield_now();
    }
    assert!(list.is_empty());
}
