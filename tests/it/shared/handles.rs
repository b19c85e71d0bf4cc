//! What all handles have in common: they travel inside anything, and the last one frees the memory.

use std::collections::HashMap;
use std::sync::OnceLock;

use parallel_runtime::{
    ProcessPool, SharedArray, SharedDict, SharedEvent, SharedList, SharedLock, SharedQueue, SharedSlice, SharedValue,
    SharedVec, TaskError, parallel,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bundle {
    table: SharedSlice<u32>,
    value: Option<SharedValue<u64>>,
    arrays: Vec<SharedArray<u8>>,
    dicts: HashMap<String, SharedDict<u32, String>>,
    lock: (SharedLock, SharedEvent),
    list: Box<SharedList<u32>>,
}

fn bundle() -> Bundle {
    Bundle {
        table: SharedSlice::from_slice(&[1, 2, 3]),
        value: Some(SharedValue::new(1)),
        arrays: vec![SharedArray::new(2), SharedArray::new(3)],
        dicts: HashMap::from([("a".to_owned(), SharedDict::new())]),
        lock: (SharedLock::new(), SharedEvent::new()),
        list: Box::new(SharedList::new()),
    }
}

#[parallel(mode = "process", pool = 2)]
fn use_all(bundle: Bundle) -> Result<Bundle, String> {
    let _guard = bundle.lock.0.lock().map_err(|error| error.to_string())?;
    if let Some(value) = &bundle.value {
        value.update(|value| *value += u64::from(bundle.table[2]));
    }
    bundle.arrays[1].set(2, 9);
    bundle.dicts["a"].insert(5, "five".to_owned());
    bundle.list.push(6);
    bundle.lock.1.set();
    Ok(bundle.clone())
}

#[test]
fn handles_travel_inside_structs_vectors_maps_options_and_results() {
    let ours = bundle();
    let theirs = use_all(ours.clone()).unwrap();
    assert_eq!(ours.value.as_ref().unwrap().get(), 4);
    assert_eq!(theirs.arrays[1].get(2), 9);
    assert_eq!(theirs.dicts["a"].get(&5).unwrap(), "five");
    assert_eq!((theirs.list.to_vec(), theirs.lock.1.is_set(), theirs.table[0]), (vec![6], true, 1));
    theirs.value.unwrap().set(70);
    assert_eq!(ours.value.unwrap().get(), 70);
}

#[test]
fn shared_vecs_travel_inside_vectors_options_and_tuples() {
    type Nested = (u8, Vec<SharedVec<u32>>, Option<SharedVec<f64>>);
    #[parallel(mode = "process", pool = 2)]
    fn nested((number, mut vecs, option): Nested) -> Result<Nested, SharedVec<u8>> {
        if number == 9 {
            return Err(SharedVec::from_slice(&[9]));
        }
        vecs[0][0] += 1;
        vecs.push(SharedVec::from_slice(&[7, 7]));
        Ok((number + 1, vecs, option))
    }
    let item = |number| (number, vec![SharedVec::from_slice(&[1]), SharedVec::zeroed(0)], Some(SharedVec::zeroed(2)));
    let (number, vecs, option) = nested(item(1)).unwrap();
    assert_eq!((number, vecs.len(), vecs[0][0], vecs[2][1], option.unwrap().len()), (2, 3, 2, 7, 2));
    assert_eq!(nested(item(9)).unwrap_err(), [9]);
    let results = nested::map((0..20).map(item));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 19);
    let task = nested::submit(item(3));
    assert_eq!(task.join().unwrap().unwrap().0, 4);
}

#[test]
fn a_batch_of_which_one_item_cannot_be_sent_keeps_the_others() {
    #[parallel(mode = "process", pool = 1, chunk = 8)]
    fn first(vec: SharedVec<u32>, value: Option<(std::path::PathBuf,)>) -> u32 {
        vec[0] + u32::from(value.is_some())
    }
    // serde has no path that is not UTF-8.
    let bad = || Some((<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![0xff]).into(),));
    let items = (0..8).map(|number| (SharedVec::from_slice(&[number]), if number == 5 { bad() } else { None }));
    let results = first::try_map(items);
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(*value, number as u32),
            Err(error) => assert!(number == 5 && matches!(error, TaskError::Encode { .. }), "{number}: {error}"),
        }
    }
    assert!(results[5].is_err());
}

#[test]
fn another_serialiser_refuses_a_handle() {
    let refused = [
        serde_json::to_string(&SharedValue::new(1)),
        serde_json::to_string(&SharedVec::from_slice(&[1_u8])),
        serde_json::to_string(&SharedVec::from_slice(&[1_u8]).share()),
        serde_json::to_string(&SharedList::<u8>::new()),
    ];
    for refused in refused {
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("handle of shared memory") && error.contains("pass the handle to a task as it is"),
            "{error}"
        );
    }
    for text in ["[3,7]", "[3,[0,7]]", "[3,\"name\"]", "[0,0]", "7"] {
        assert!(serde_json::from_str::<SharedVec<u64>>(text).is_err(), "{text}");
        assert!(serde_json::from_str::<SharedValue<u64>>(text).is_err(), "{text}");
    }
}

/// Serialises its buffer by way of text.
struct AsText(SharedVec<u64>);

impl Serialize for AsText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AsText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[test]
fn another_serialiser_refuses_a_handle_inside_a_message_too() {
    #[parallel(mode = "process", pool = 1)]
    fn length(text: AsText) -> usize {
        text.0.len()
    }
    let error = length::submit(AsText(SharedVec::from_slice(&[1, 2, 3]))).join().unwrap_err().to_string();
    assert!(error.contains("`AsText`") && error.contains("this serialiser is another one"), "{error}");
}

/// Serialises a number as if it were a handle, by the name that handles use, which is not secret: that of
/// `codec::attachment`. Under another name it is a number, and the calls below succeed.
struct Forged(u64);

impl Serialize for Forged {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct("$parallel_runtime::Attachment", &self.0)
    }
}

impl<'de> Deserialize<'de> for Forged {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

#[test]
fn what_is_no_handle_does_not_pass_for_one() {
    #[parallel(mode = "process", pool = 1)]
    fn number(forged: Forged) -> u64 {
        forged.0
    }
    for ticket in [0, 1, 2, 1000, u64::MAX] {
        let error = number::submit(Forged(ticket)).join().unwrap_err().to_string();
        assert!(error.contains("no handle of shared memory"), "{error}");
    }
}

/// Two owners that are one, written from one place.
struct Twice(SharedVec<u64>);

impl Serialize for Twice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0, &self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(SharedVec<u64>, SharedVec<u64>)>::deserialize(deserializer).map(|both| Self(both.0))
    }
}

#[test]
fn one_owner_is_not_sent_twice() {
    #[parallel(mode = "process", pool = 1)]
    fn length(twice: Twice) -> usize {
        twice.0.len()
    }
    let error = length::submit(Twice(SharedVec::from_slice(&[1]))).join().unwrap_err().to_string();
    assert!(error.contains("in it twice"), "{error}");
}

#[test]
fn handles_inside_containers_keep_what_they_stand_for() {
    #[parallel(mode = "process", pool = 2)]
    fn put(tables: SharedDict<u32, SharedSlice<u64>>, frames: SharedQueue<SharedVec<u64>>, key: u32) {
        tables.insert(key, SharedSlice::from_slice(&[u64::from(key); 1000]));
        frames.push(SharedVec::from_slice(&[u64::from(key); 1000])).unwrap();
    }
    #[parallel(mode = "process", pool = 2)]
    fn look(tables: SharedDict<u32, SharedSlice<u64>>, frames: SharedQueue<SharedVec<u64>>, key: u32) -> (u64, u64) {
        let mut frame = frames.pop().unwrap();
        frame[0] += 1;
        (tables.get(&key).unwrap()[999], frame[0] + frame[999])
    }
    let (tables, frames) = (SharedDict::new(), SharedQueue::bounded(100));
    put::map((0..20).map(|key| (tables.clone(), frames.clone(), key)));
    // What was freed too early is taken by these, and written over.
    let others: Vec<_> = (0..40).map(|_| SharedVec::from_slice(&[99_u64; 1000])).collect();
    let seen = look::map((0..20).map(|key| (tables.clone(), frames.clone(), key)));
    assert!(seen.iter().enumerate().all(|(key, (there, _))| *there == key as u64));
    let mut popped: Vec<u64> = seen.into_iter().map(|(_, sum)| sum).collect();
    popped.sort_unstable();
    assert!(popped.into_iter().eq((0..20).map(|key| 2 * key + 1)));
    assert_eq!(others.len(), 40);
    let removed = tables.remove(&3).unwrap();
    drop(tables);
    assert_eq!(removed[5], 3);
}

#[test]
fn a_shared_vec_in_a_dict_can_be_taken_out_but_not_read_twice() {
    let dict = SharedDict::new();
    dict.insert(1, SharedVec::from_slice(&[1_u8]));
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dict.get(&1)));
    assert!(read.unwrap_err().downcast_ref::<String>().unwrap().contains("share()"));
    assert_eq!(dict.remove(&1).unwrap(), [1]);
    assert!(dict.is_empty());
}

#[test]
fn a_worker_may_keep_a_handle_after_its_task() {
    static KEPT: OnceLock<SharedValue<u64>> = OnceLock::new();
    #[parallel(mode = "process", pool = 1)]
    fn keep(value: Option<SharedValue<u64>>) -> u64 {
        let kept = KEPT.get_or_init(|| value.expect("the first call brings it"));
        kept.update(|value| {
            *value += 1;
            *value
        })
    }
    let pool = ProcessPool::new(1);
    let value = SharedValue::new(10);
    assert_eq!(keep::on(&pool).call(Some(value.clone())), 11);
    drop(value);
    // Memory of another object if it was freed.
    let others: Vec<_> = (0..100).map(|_| SharedValue::new(0_u64)).collect();
    others.iter().for_each(|other| other.set(1));
    assert_eq!(keep::on(&pool).call(None), 12);
    assert!(others.iter().all(|other| other.get() == 1));
}

#[test]
fn thousands_of_small_objects_take_neither_descriptors_nor_mappings() {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let first = SharedValue::new(0_u64);
    first.set(1);
    let (descriptors, mappings) = (count("/proc/self/fd"), maps());
    let values: Vec<_> = (0..20_000).map(SharedValue::new).collect();
    assert!(values.iter().enumerate().all(|(index, value)| value.get() == index));
    // Others run at the same time, so a few more or less.
    assert!(count("/proc/self/fd") < descriptors + 200 && maps() < mappings + 500);
    #[parallel(mode = "process", pool = 2)]
    fn sum(values: Vec<SharedValue<usize>>) -> usize {
        values.iter().map(SharedValue::get).sum()
    }
    assert_eq!(sum(values), (0..20_000).sum::<usize>());
}

/// A list in a list in a list.
#[derive(Serialize, Deserialize)]
struct Link {
    next: Option<SharedList<Link>>,
}

#[test]
fn containers_nested_deeper_than_a_stack_are_freed() {
    #[parallel(mode = "process", pool = 1)]
    fn build(depth: u32) -> SharedList<Link> {
        let mut list = SharedList::new();
        for _ in 0..depth {
            let outer = SharedList::new();
            outer.push(Link { next: Some(list) });
            list = outer;
        }
        list
    }
    drop(build(3000));
    let mut list = SharedList::new();
    for _ in 0..20_000 {
        let outer = SharedList::new();
        outer.push(Link { next: Some(list) });
        list = outer;
    }
    assert!(list.get(0).unwrap().next.is_some());
    drop(list);
}

#[test]
fn a_handle_of_one_kind_is_none_of_another() {
    /// Is sent as one, and received as another.
    struct Changeling<From, Into>(Option<From>, Option<Into>);
    impl<From: Serialize, Into> Serialize for Changeling<From, Into> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.as_ref().unwrap().serialize(serializer)
        }
    }
    impl<'de, From, Into: Deserialize<'de>> Deserialize<'de> for Changeling<From, Into> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Into::deserialize(deserializer).map(|into| Self(None, Some(into)))
        }
    }
    #[parallel(mode = "process", pool = 1)]
    fn write(shared: Changeling<SharedSlice<u64>, SharedVec<u64>>) {
        shared.1.unwrap()[0] = 99;
    }
    #[parallel(mode = "process", pool = 1)]
    fn write_lock(shared: Changeling<SharedValue<u64>, SharedArray<u64>>) -> u64 {
        shared.1.unwrap().get(0)
    }
    #[parallel(mode = "process", pool = 1)]
    fn list(shared: Changeling<SharedDict<u8, u8>, SharedList<u8>>) -> usize {
        shared.1.unwrap().len()
    }
    let slice = SharedSlice::from_slice(&[1, 2]);
    let refused = write::try_map([Changeling(Some(slice.clone()), None)]);
    assert!(matches!(&refused[0], Err(TaskError::Decode { reason, .. }) if reason.contains("another kind")));
    assert_eq!(slice, [1, 2]);
    assert!(list::try_map([Changeling(Some(SharedDict::new()), None)])[0].is_err());
    // These two are the same thing under two names.
    assert_eq!(write_lock(Changeling(Some(SharedValue::new(7)), None)), 7);
}

#[test]
fn a_call_inside_a_serialisation_leaves_its_handles_alone() {
    #[parallel(mode = "process", pool = 1)]
    fn number() -> u32 {
        7
    }
    #[derive(Deserialize)]
    struct Calls(u32);
    impl Serialize for Calls {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            number().serialize(serializer)
        }
    }
    #[parallel(mode = "process", pool = 1)]
    fn sum(slice: SharedSlice<u32>, calls: Calls, vec: SharedVec<u32>) -> u32 {
        slice[0] + calls.0 + vec[0]
    }
    let task = sum::submit(SharedSlice::from_slice(&[1]), Calls(0), SharedVec::from_slice(&[2]));
    assert_eq!(task.join().unwrap(), 10);
}

/// A value whose `Serialize` and `Deserialize` call tasks.
struct Busy(u64);

#[parallel(mode = "process", pool = 1)]
fn make(number: u64) -> SharedVec<u64> {
    SharedVec::from_slice(&[number; 10])
}

impl Serialize for Busy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        drop(make::submit(1));
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Busy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|number| Self(make(number)[9]))
    }
}

#[test]
fn values_that_call_tasks_while_they_are_encoded_or_decoded_disturb_nothing() {
    #[parallel(mode = "process", pool = 1)]
    fn total(_busy: Busy, gate: SharedEvent, numbers: &[u64]) -> u64 {
        gate.wait();
        numbers.iter().sum()
    }
    let gate = SharedEvent::new();
    // The second argument is encoded after the first has submitted a task; its owner is dropped by then.
    let task = total::submit(Busy(1), gate.clone(), SharedVec::from_slice(&[1; 1000]));
    let others: Vec<_> = (0..4).map(|_| SharedVec::from_slice(&[9_u64; 1000])).collect();
    gate.set();
    assert_eq!(task.join().unwrap(), 1000);
    drop(others);
    let dict = SharedDict::new();
    dict.insert(1, Busy(5));
    assert_eq!(dict.get(&1).unwrap().0, 5);
}
