//! A `SharedVec` has one owner: how it moves, and what is refused.

use std::sync::{Arc, OnceLock};

use parallel_runtime::{SharedQueue, SharedVec, TaskError, TryPushError, parallel};
use serde::{Deserialize, Serialize};

/// As serde's feature `rc` would do it.
#[derive(Clone)]
struct Counted(Arc<SharedVec<u32>>);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SharedVec::deserialize(deserializer).map(|vec| Self(Arc::new(vec)))
    }
}

#[test]
fn a_shared_vec_in_an_arc_moves_only_if_the_arc_is_not_shared() {
    #[parallel(mode = "process", pool = 1)]
    fn first(vec: Counted) -> u32 {
        vec.0[0]
    }
    fn is_refused<T>(result: Result<T, TaskError>) {
        assert!(matches!(result, Err(TaskError::Encode { reason, .. }) if reason.contains("something else has it")));
    }
    let ours = Counted(Arc::new(SharedVec::from_slice(&[5, 6])));
    let borrowed = &ours.0[1..];
    is_refused(first::try_map([ours.clone()]).remove(0));
    is_refused(first::submit(ours.clone()).join());
    is_refused(first::map_async(vec![ours.clone()]).join());
    assert_eq!(borrowed, [6]);
    // It was not lost by that.
    assert_eq!(first(ours), 5);
    assert_eq!(first::map((1..4).map(|number| Counted(Arc::new(SharedVec::from_slice(&[number]))))), [1, 2, 3]);
}

#[test]
fn a_result_in_an_arc_that_the_worker_keeps_is_refused() {
    static KEPT: OnceLock<Counted> = OnceLock::new();
    #[parallel(mode = "process", pool = 1)]
    fn make(keep: bool) -> Counted {
        let made = Counted(Arc::new(SharedVec::from_slice(&[7])));
        if keep { KEPT.get_or_init(|| made).clone() } else { made }
    }
    let made = make::try_map([true, false]);
    assert!(
        matches!(&made[0], Err(TaskError::Encode { what: "result", reason, .. }) if reason.contains("something else"))
    );
    assert_eq!(*made[1].as_ref().unwrap().0, [7]);
}

#[test]
fn containers_refuse_a_shared_vec_in_a_shared_arc() {
    let queue = SharedQueue::bounded(1);
    let ours = Counted(Arc::new(SharedVec::from_slice(&[5])));
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.push(ours.clone())));
    assert!(refused.unwrap_err().downcast_ref::<String>().unwrap().contains("something else has it"));
    queue.push(ours).unwrap();
    // What does not fit comes back, although it was packed.
    let Err(TryPushError::Full(back)) = queue.try_push(Counted(Arc::new(SharedVec::from_slice(&[8])))) else {
        panic!("the queue is full");
    };
    assert_eq!(*back.0, [8]);
    assert_eq!(*queue.pop().unwrap().0, [5]);
}

#[test]
fn a_shared_vec_moves_without_copying_alone_and_inside_others() {
    #[parallel(mode = "process", pool = 1)]
    fn alone(vec: SharedVec<u32>, calls: &mut u32) -> SharedVec<u32> {
        *calls += 1;
        vec
    }
    #[parallel(mode = "process", pool = 1)]
    fn inside(vec: Option<SharedVec<u32>>) -> Vec<SharedVec<u32>> {
        vec.into_iter().collect()
    }
    let vec = SharedVec::from_slice(&[3; 10_000]);
    let place = vec.as_ptr();
    let mut calls = 0;
    let vec = alone(vec, &mut calls);
    assert_eq!((vec.as_ptr(), vec[9_999], calls), (place, 3, 1));
    let vec = inside(Some(vec)).remove(0);
    assert_eq!((vec.as_ptr(), vec[9_999]), (place, 3));
}

#[test]
fn a_shared_vec_inside_another_value_is_copied_beside_an_exclusive_reference() {
    #[parallel(mode = "process", pool = 1)]
    fn fill(vecs: Vec<SharedVec<u32>>, sums: &mut Vec<u32>) -> Vec<SharedVec<u32>> {
        sums.extend(vecs.iter().map(|vec| vec.iter().sum::<u32>()));
        vecs
    }
    let mut sums = vec![1];
    let vecs = fill(vec![SharedVec::from_slice(&[1, 2]), SharedVec::from_slice(&[3; 5000])], &mut sums);
    assert_eq!((sums, vecs[0].len(), vecs[1][4999]), (vec![1, 3, 15_000], 2, 3));
    let mut each = [vec![], vec![]];
    fill::map([vec![SharedVec::from_slice(&[4])], vec![]].into_iter().zip(&mut each));
    assert_eq!(each, [vec![4], vec![]]);
}

#[test]
fn a_shared_vec_behind_a_reference_is_refused_with_the_way_out() {
    #[parallel(mode = "process", pool = 1)]
    fn behind(vec: &SharedVec<u32>) -> usize {
        vec.len()
    }
    let vec = SharedVec::from_slice(&[1, 2]);
    let refused = behind::try_map([&vec]);
    assert!(matches!(&refused[0], Err(TaskError::Encode { reason, .. }) if reason.contains("share()")));
    assert_eq!(vec, [1, 2]);
}

#[test]
fn the_same_shared_vec_cannot_be_sent_twice_in_one_value() {
    struct Twice(SharedVec<u32>);
    impl Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.0, &self.0).serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Twice {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <(SharedVec<u32>, SharedVec<u32>)>::deserialize(deserializer).map(|(first, _)| Self(first))
        }
    }
    #[parallel(mode = "process", pool = 1)]
    fn first(twice: Twice) -> u32 {
        twice.0[0]
    }
    let refused = first::try_map([Twice(SharedVec::from_slice(&[1]))]);
    assert!(matches!(&refused[0], Err(TaskError::Encode { reason, .. }) if reason.contains("twice")), "{refused:?}");
}
