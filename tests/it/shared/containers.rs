//! `SharedDict`, `SharedList`, `SharedQueue`.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use parallel_runtime::{
    Closed, SharedArray, SharedDict, SharedList, SharedQueue, TaskError, TryPushError, parallel, shared,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    numbers: Vec<f64>,
    nested: Option<Box<Record>>,
}

fn record(number: u64) -> Record {
    let nested =
        number.is_multiple_of(3).then(|| Box::new(Record { name: String::new(), numbers: vec![], nested: None }));
    Record { name: format!("record {number}"), numbers: vec![number as f64; number as usize % 50], nested }
}

#[test]
fn a_dict_does_what_a_hash_map_does() {
    let dict = SharedDict::<u64, Record>::new();
    let mut map = HashMap::new();
    let mut state = 1_u64;
    for _ in 0..3000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (key, what) = ((state >> 33) % 100, (state >> 20) % 8);
        match what {
            0..4 => assert_eq!(dict.insert(key, record(state >> 50)), map.insert(key, record(state >> 50))),
            4 | 5 => assert_eq!(dict.remove(&key), map.remove(&key)),
            6 => assert_eq!(dict.get(&key), map.get(&key).cloned()),
            _ => assert_eq!(dict.contains_key(&key), map.contains_key(&key)),
        }
        assert_eq!(dict.len(), map.len());
    }
    assert_eq!(dict.to_map(), map);
    let mut keys = dict.keys();
    keys.sort_unstable();
    let mut expected: Vec<u64> = map.keys().copied().collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(dict.values().len(), map.len());
    dict.clear();
    assert!(dict.is_empty() && dict.to_map().is_empty() && dict.get(&1).is_none());
}

#[test]
fn a_list_does_what_a_vec_does() {
    let list = SharedList::<Record>::new();
    let mut vec = Vec::new();
    let mut state = 1_u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (what, at) = ((state >> 20) % 8, (state >> 33) as usize % (vec.len() + 1));
        let new = record(state >> 50);
        match what {
            0..3 => {
                list.push(new.clone());
                vec.push(new);
            }
            3 => {
                list.insert(at, new.clone());
                vec.insert(at, new);
            }
            4 => assert_eq!(list.pop(), vec.pop()),
            5 if at < vec.len() => assert_eq!(list.remove(at), vec.remove(at)),
            6 if at < vec.len() => assert_eq!(list.set(at, new.clone()), std::mem::replace(&mut vec[at], new)),
            _ => assert_eq!(list.get(at), vec.get(at).cloned()),
        }
        assert_eq!(list.len(), vec.len());
    }
    assert_eq!(list.to_vec(), vec);
    list.clear();
    assert!(list.is_empty() && list.pop().is_none());
}

#[test]
fn an_index_beyond_the_end_panics_as_in_a_vec() {
    let list: SharedList<u32> = [1, 2].into_iter().collect();
    assert_eq!(list.get(2), None);
    for operation in [
        (|list| {
            list.set(2, 1);
        }) as fn(&SharedList<u32>),
        |list| {
            list.remove(2);
        },
        |list| list.insert(3, 1),
        |list| list.update(2, |_| ()),
    ] {
        assert!(catch_unwind(AssertUnwindSafe(|| operation(&list))).is_err());
        assert_eq!(list.to_vec(), [1, 2]);
    }
}

#[test]
fn keys_are_looked_up_by_what_they_borrow_as() {
    let dict: SharedDict<String, u32> = [("a".to_owned(), 1)].into_iter().collect();
    assert_eq!(dict.get("a"), Some(1));
    assert_eq!(dict.get(&"a".to_owned()), Some(1));
    assert!(dict.contains_key("a"));
    assert_eq!(dict.update("a", |value| *value + 1), Some(2));
    assert_eq!(dict.remove("a"), Some(1));
}

#[parallel(mode = "process", pool = 2)]
fn fill(dict: SharedDict<String, u64>, list: SharedList<u64>, from: u64) {
    for number in from..from + 500 {
        assert_eq!(dict.insert(format!("{number}"), number), None);
        list.push(number);
        dict.update_or_insert("sum".to_owned(), 0, |sum| *sum += number);
        dict.update("sum", |sum| *sum += 1);
    }
}

#[test]
fn several_processes_fill_one_dict_and_one_list() {
    let (dict, list) = (SharedDict::new(), SharedList::new());
    fill::map((0..4).map(|part| (dict.clone(), list.clone(), part * 500)));
    assert_eq!((dict.len(), list.len()), (2001, 2000));
    assert_eq!(dict.get("sum"), Some(1999 * 1000 + 2000));
    assert!((0..2000).all(|number| dict.get(&format!("{number}")) == Some(number)));
    let mut all = list.to_vec();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2000));
}

#[test]
fn a_panic_in_an_update_leaves_the_container_as_it_was() {
    let dict: SharedDict<u32, String> = [(1, "one".to_owned())].into_iter().collect();
    let list: SharedList<String> = ["one".to_owned()].into_iter().collect();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        dict.update(&1, |value| {
            value.push('!');
            panic!("no")
        })
    }));
    assert!(panicked.is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| list.update(0, |_| panic!("no")))).is_err());
    assert_eq!((dict.get(&1), list.get(0)), (Some("one".to_owned()), Some("one".to_owned())));
    let again = catch_unwind(AssertUnwindSafe(|| dict.update(&1, |_| dict.len())));
    assert!(again.unwrap_err().downcast_ref::<&str>().unwrap().contains("holds the lock"));
}

#[test]
fn large_values_and_many_values_are_kept() {
    #[parallel(mode = "process", pool = 2)]
    fn store(dict: SharedDict<u32, Vec<u8>>, key: u32, len: usize) {
        dict.insert(key, vec![key as u8; len]);
    }
    let dict = SharedDict::new();
    let sizes = [0, 1, 300, 5000, 1 << 18, 3 << 20];
    for round in 0..3 {
        store::map(sizes.iter().enumerate().map(|(key, len)| (dict.clone(), key as u32 + round, *len)));
    }
    assert_eq!(dict.get(&7).unwrap().len(), 3 << 20);
    assert!(dict.get(&7).unwrap().iter().all(|byte| *byte == 7));
    let many: SharedDict<u32, u32> = (0..30_000).map(|number| (number, number)).collect();
    assert_eq!(many.len(), 30_000);
    assert_eq!(many.get(&29_999), Some(29_999));
}

#[test]
fn a_value_that_does_not_serialise_is_named() {
    #[derive(Deserialize)]
    struct Secret(u32);
    impl Serialize for Secret {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 == 0 { Err(serde::ser::Error::custom("it is secret")) } else { serializer.serialize_u32(self.0) }
        }
    }
    let list = SharedList::new();
    let refused = catch_unwind(AssertUnwindSafe(|| list.push(Secret(0)))).unwrap_err();
    let text = refused.downcast_ref::<String>().unwrap();
    assert!(text.contains("`Secret`") && text.contains("it is secret"), "{text}");
    list.push(Secret(3));
    assert_eq!(list.pop().unwrap().0, 3);
}

#[parallel(mode = "process", pool = 4)]
fn produce(queue: SharedQueue<(u32, u64)>, producer: u32, count: u64) {
    for number in 0..count {
        queue.push((producer, number)).unwrap();
    }
}

#[parallel(mode = "process", pool = 4)]
fn consume(queue: SharedQueue<(u32, u64)>) -> Vec<(u32, u64)> {
    std::iter::from_fn(|| queue.pop().ok()).collect()
}

#[test]
fn each_element_of_a_queue_comes_out_once_and_in_order() {
    let queue = SharedQueue::bounded(7);
    let consumers = consume::map_async([queue.clone(), queue.clone()]);
    produce::map((0..2).map(|producer| (queue.clone(), producer, 3000)));
    queue.close();
    let consumed = consumers.join().unwrap();
    for part in &consumed {
        for producer in 0..2 {
            let numbers = part.iter().filter(|(from, _)| *from == producer).map(|(_, number)| *number);
            assert!(numbers.is_sorted(), "one consumer sees the numbers of one producer in order");
        }
    }
    let mut all: Vec<(u32, u64)> = consumed.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..2).flat_map(|producer| (0..3000).map(move |number| (producer, number)))));
}

#[test]
fn a_queue_without_a_bound_takes_all_that_is_pushed() {
    let queue = SharedQueue::unbounded();
    assert_eq!(queue.capacity(), usize::MAX);
    produce::map((0..2).map(|producer| (queue.clone(), producer, 20_000)));
    assert_eq!(queue.len(), 40_000);
    queue.close();
    let consumed = consume::map([queue.clone(), queue]).concat();
    let mut all = consumed;
    all.sort_unstable();
    assert!(all.into_iter().eq((0..2).flat_map(|producer| (0..20_000).map(move |number| (producer, number)))));
    assert!(SharedQueue::<u8>::try_unbounded().unwrap().is_empty());
}

#[test]
fn a_full_queue_and_an_empty_one_say_so() {
    let queue = SharedQueue::bounded(2);
    assert_eq!((queue.try_pop(), queue.capacity(), queue.is_empty()), (Ok(None), 2, true));
    assert_eq!(queue.pop_timeout(Duration::from_millis(10)), Ok(None));
    queue.push("a".to_owned()).unwrap();
    queue.try_push("b".to_owned()).unwrap();
    assert_eq!(queue.try_push("c".to_owned()), Err(TryPushError::Full("c".to_owned())));
    assert_eq!(queue.push_timeout("c".to_owned(), Duration::from_millis(10)), Err(TryPushError::Full("c".to_owned())));
    assert_eq!(queue.len(), 2);
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.push("d".to_owned()), Err(Closed("d".to_owned())));
    assert_eq!(queue.try_push("d".to_owned()), Err(TryPushError::Closed("d".to_owned())));
    assert_eq!((queue.pop(), queue.try_pop()), (Ok("a".to_owned()), Ok(Some("b".to_owned()))));
    assert_eq!((queue.pop(), queue.pop_timeout(Duration::ZERO)), (Err(Closed(())), Err(Closed(()))));
    assert!(catch_unwind(|| SharedQueue::<u8>::bounded(0)).is_err());
}

#[test]
fn closing_wakes_all_waiters() {
    let (full, empty) = (SharedQueue::bounded(1), SharedQueue::<u32>::bounded(1));
    full.push(1).unwrap();
    std::thread::scope(|scope| {
        let pushes = scope.spawn(|| full.push(2));
        let pops = scope.spawn(|| empty.pop());
        std::thread::sleep(Duration::from_millis(30));
        full.close();
        empty.close();
        assert_eq!(pushes.join().unwrap(), Err(Closed(2)));
        assert_eq!(pops.join().unwrap(), Err(Closed(())));
    });
}

#[test]
fn containers_go_on_when_a_process_dies_in_them() {
    #[parallel(mode = "process", pool = 2)]
    fn die(dict: SharedDict<u32, u32>, list: SharedList<u32>, which: u8) {
        if which == 0 {
            dict.update(&1, |value| {
                *value = 99;
                std::process::abort()
            });
        } else {
            list.update(0, |value| {
                *value = 99;
                std::process::abort()
            });
        }
    }
    let dict: SharedDict<u32, u32> = (0..100).map(|key| (key, key)).collect();
    let list: SharedList<u32> = (0..100).collect();
    for which in [0, 1, 0, 1] {
        let died = die::try_map([(dict.clone(), list.clone(), which)]);
        assert!(matches!(died[0], Err(TaskError::WorkerDied { .. })));
        assert_eq!((dict.get(&1), list.get(0)), (Some(1), Some(0)));
        dict.insert(1000, 1);
        list.push(1);
        dict.remove(&1000);
        list.pop();
    }
    assert_eq!((dict.len(), list.len()), (100, 100));
}

#[shared]
static WORDS: SharedDict<String, u32> = SharedDict::new();

#[shared]
static JOBS: SharedQueue<u32> = SharedQueue::bounded(100);

#[test]
fn statics_of_containers_are_the_same_in_every_process() {
    #[parallel(mode = "process", pool = 2)]
    fn note(word: &str) {
        WORDS.update_or_insert(word.to_owned(), 0, |times| *times += 1);
        JOBS.push(word.len() as u32).unwrap();
    }
    note::map(["a", "bb", "a"]);
    let words: BTreeMap<String, u32> = WORDS.to_map().into_iter().collect();
    assert_eq!(words, BTreeMap::from([("a".to_owned(), 2), ("bb".to_owned(), 1)]));
    assert_eq!(std::iter::from_fn(|| JOBS.try_pop().unwrap()).sum::<u32>(), 4);
}

#[test]
fn containers_are_made_from_what_is_there_and_print_what_they_hold() {
    let dict = SharedDict::from([("one".to_owned(), 1_u32)]);
    let list = SharedList::from(vec!['a', 'b']);
    let array = SharedArray::from([1_u8, 2]);
    assert_eq!(format!("{dict:?} {list:?} {array:?}"), r#"{"one": 1} ['a', 'b'] SharedArray([1, 2])"#);
    assert_eq!(SharedList::from(['a', 'b']).to_vec(), list.to_vec());
    assert_eq!(SharedArray::from(vec![1_u8, 2]).to_vec(), array.to_vec());
    assert_eq!(SharedArray::from(&[1_u8, 2][..]).to_vec(), array.to_vec());
    assert!(SharedDict::<u8, u8>::default().is_empty() && SharedList::<u8>::default().is_empty());
    assert!(SharedArray::<u8>::from([]).is_empty() && !array.is_empty());

    let queue = SharedQueue::bounded(1);
    queue.push(5_u8).unwrap();
    assert_eq!(format!("{queue:?}"), "SharedQueue { len: 1, closed: false, .. }");
    let full = queue.try_push(6).unwrap_err();
    assert_eq!(format!("{full:?}, {:?}", matches!(full, TryPushError::Full(6))), "Full, true");
    queue.close();
    assert_eq!(format!("{:?}", queue.push(7).unwrap_err()), "Closed");
}
