//! `SharedValue`, `SharedArray`, statics.

use std::num::NonZeroU16;
use std::panic::catch_unwind;

use parallel_runtime::{Poisoned, ProcessPool, SharedArray, SharedSlice, SharedValue, parallel, shared};

#[parallel(mode = "process", pool = 2)]
fn count(value: SharedValue<u64>, times: u64) {
    for _ in 0..times {
        value.update(|value| *value += 1);
    }
}

#[test]
fn updates_of_several_processes_and_threads_are_all_counted() {
    let value = SharedValue::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20_000).for_each(|_| value.update(|value| *value += 1)));
        }
        count::map((0..4).map(|_| (value.clone(), 20_000)));
    });
    assert_eq!(value.get(), 120_000);
}

#[test]
fn arithmetic_of_several_processes_is_all_counted() {
    #[parallel(mode = "process", pool = 2)]
    fn add(value: SharedValue<i32>, largest: SharedValue<u8>, times: u8) {
        for time in 0..times {
            value.fetch_add(3);
            value.fetch_sub(1);
            largest.fetch_max(time);
        }
    }
    let (value, largest) = (SharedValue::new(-5), SharedValue::new(0));
    add::map((0..4).map(|_| (value.clone(), largest.clone(), 200)));
    assert_eq!((value.get(), largest.get()), (1595, 199));
    assert_eq!(value.compare_exchange(0, 1), Err(1595));
    assert_eq!(value.compare_exchange(1595, 7), Ok(1595));
    assert_eq!(value.fetch_min(-1), 7);
    assert_eq!(SharedValue::new(255_u8).fetch_add(2), 255);
}

#[test]
fn values_of_all_plain_kinds_are_seen_by_every_process() {
    #[parallel(mode = "process", pool = 2)]
    fn set(
        flag: SharedValue<bool>,
        letter: SharedValue<char>,
        triple: SharedValue<[f64; 3]>,
        one: SharedValue<NonZeroU16>,
    ) {
        flag.set(!flag.get());
        letter.set('ß');
        triple.update(|triple| triple[1] = 0.5);
        one.set(NonZeroU16::new(9).unwrap());
    }
    let (flag, letter, triple) = (SharedValue::new(false), SharedValue::new('a'), SharedValue::new([1.0; 3]));
    let one = SharedValue::new(NonZeroU16::MIN);
    set(flag.clone(), letter.clone(), triple.clone(), one.clone());
    assert_eq!((flag.get(), letter.get(), triple.get(), one.get().get()), (true, 'ß', [1.0, 0.5, 1.0], 9));
    SharedValue::new(()).set(());
}

#[test]
fn a_guard_keeps_others_out_and_sets_the_value_at_its_end() {
    let value = SharedValue::new(1);
    let mut guard = value.lock().unwrap();
    let task = count::submit(value.clone(), 1000);
    *guard += 10;
    *guard *= 2;
    assert_eq!(*guard, 22);
    drop(guard);
    task.join().unwrap();
    assert_eq!(value.get(), 1022);
}

/// Dies while it holds what it is told to.
#[parallel(mode = "process", pool = 2)]
fn die(value: SharedValue<[u64; 4]>, array: SharedArray<u64>, how: u8) {
    match how {
        0 => {
            let mut guard = value.lock().unwrap();
            *guard = [9; 4];
            std::process::abort();
        }
        1 => value.update(|value| {
            *value = [9; 4];
            std::process::abort();
        }),
        2 => {
            let mut guard = array.lock().unwrap();
            guard[0] = 9;
            std::process::abort();
        }
        3 => array.update(0, |element| {
            *element = 9;
            std::process::abort();
        }),
        4 => {
            let _guard = value.lock().unwrap();
            panic!("with the lock");
        }
        _ => {
            let _guard = array.lock().unwrap();
            panic!("with the lock");
        }
    }
}

#[test]
fn a_lock_whose_holder_died_or_panicked_is_poisoned_and_never_stuck() {
    for how in 0..6 {
        let (value, array) = (SharedValue::new([1; 4]), SharedArray::from_slice(&[1, 2]));
        assert!(die::try_map([(value.clone(), array.clone(), how)])[0].is_err());
        // What was not finished has not happened; what was changed in place has.
        assert_eq!(value.get(), [1; 4]);
        assert_eq!(array.to_vec(), [if how == 2 { 9 } else { 1 }, 2]);
        let poisoned = (value.lock().err(), array.lock().err());
        assert_eq!(poisoned, if matches!(how, 0 | 1 | 4) { (Some(Poisoned), None) } else { (None, Some(Poisoned)) });
        assert_eq!((value.is_poisoned(), array.is_poisoned()), (poisoned.0.is_some(), poisoned.1.is_some()));
        value.set([5; 4]);
        array.set(1, 5);
        value.clear_poison();
        array.clear_poison();
        assert_eq!(*value.lock().unwrap(), [5; 4]);
        assert_eq!(array.lock().unwrap()[1], 5);
    }
}

#[test]
fn a_panic_in_an_update_leaves_the_value_as_it_was() {
    let value = SharedValue::new(7);
    let panicked = catch_unwind(std::panic::AssertUnwindSafe(|| {
        value.update(|value| {
            *value = 8;
            panic!("no")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(value.get(), 7);
    assert_eq!(value.lock().unwrap_err(), Poisoned);
    value.update(|value| *value += 1);
    assert_eq!(value.get(), 8);
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told_so() {
    let value = SharedValue::new(1);
    let array = SharedArray::from_slice(&[1]);
    let text = |payload: Box<dyn std::any::Any + Send>| payload.downcast_ref::<&str>().unwrap().to_string();
    let again = catch_unwind(std::panic::AssertUnwindSafe(|| value.update(|_| value.get()))).unwrap_err();
    assert!(text(again).contains("holds the lock"));
    let guard = array.lock().unwrap();
    let again = catch_unwind(std::panic::AssertUnwindSafe(|| array.get(0))).unwrap_err();
    assert!(text(again).contains("holds the lock"));
    drop(guard);
    assert_eq!(array.get(0), 1);
}

#[test]
fn an_index_out_of_range_panics_as_in_a_slice() {
    let array = SharedArray::<u32>::new(3);
    assert!(catch_unwind(std::panic::AssertUnwindSafe(|| array.get(3))).is_err());
    assert!(catch_unwind(std::panic::AssertUnwindSafe(|| array.set(usize::MAX, 1))).is_err());
    assert!(catch_unwind(std::panic::AssertUnwindSafe(|| array.update(3, |_| ()))).is_err());
    array.set(2, 1);
    assert_eq!(array.to_vec(), [0, 0, 1]);
    assert!(!array.is_poisoned());
    assert_eq!(SharedArray::<u8>::new(0).len(), 0);
}

#[test]
fn elements_of_an_array_are_seen_and_changed_by_every_process() {
    #[parallel(mode = "process", pool = 2)]
    fn change(array: SharedArray<f32>, index: usize) -> f32 {
        array.update(index, |element| {
            *element += 0.5;
            *element
        })
    }
    let array = SharedArray::from_slice(&[1.0, 2.0, 3.0]);
    assert_eq!(change::map((0..3).map(|index| (array.clone(), index))), [1.5, 2.5, 3.5]);
    assert_eq!((array.len(), array.get(1)), (3, 2.5));
    array.lock().unwrap().reverse();
    assert_eq!(array.to_vec(), [3.5, 2.5, 1.5]);
}

#[test]
fn a_task_works_on_a_part_of_a_locked_array_in_place() {
    #[parallel(mode = "process", pool = 2)]
    fn fill(part: &mut [u64], with: u64) {
        part.fill(with);
    }
    let array = SharedArray::<u64>::new(10);
    let mut guard = array.lock().unwrap();
    fill::map(guard.chunks_mut(5).zip([7, 8]));
    drop(guard);
    assert_eq!((array.get(4), array.get(5)), (7, 8));
}

#[shared]
static HITS: SharedValue<u64> = SharedValue::new(5);

/// No attribute: it is a static all the same.
static PLAIN: SharedValue<u32> = SharedValue::new(1);

#[shared]
static TABLE: SharedSlice<u32> = SharedSlice::from_slice(&[2, 3, 5]);

#[shared]
static SEEN: SharedArray<u8> = SharedArray::new(3);

#[parallel(mode = "process", pool = 2)]
fn use_statics(index: usize) -> u32 {
    HITS.update(|hits| *hits += 1);
    PLAIN.fetch_add(1);
    SEEN.set(index, 1);
    TABLE[index]
}

#[test]
fn statics_are_the_same_in_every_process() {
    assert_eq!(use_statics::map(0..3), [2, 3, 5]);
    assert_eq!((HITS.get(), PLAIN.get(), SEEN.to_vec()), (8, 4, vec![1; 3]));
    let pool = ProcessPool::new(1);
    use_statics::on(&pool).call(0);
    assert_eq!(HITS.get(), 9);
    // A static that is passed is the same object.
    count(HITS.clone(), 1);
    assert_eq!(HITS.get(), 10);
}

#[test]
fn a_static_that_a_task_uses_first_is_the_programs_too() {
    #[shared]
    static FIRST: SharedValue<u64> = SharedValue::new(100);
    #[parallel(mode = "process", pool = 2)]
    fn first() -> u64 {
        FIRST.fetch_add(1)
    }
    let mut seen = first::map((0..6).map(|_| ()));
    seen.sort_unstable();
    assert_eq!(seen, [100, 101, 102, 103, 104, 105]);
    assert_eq!(FIRST.get(), 106);
}

#[test]
fn what_is_put_into_a_static_later_is_another_value() {
    static PLACE: std::sync::Mutex<Option<SharedValue<u64>>> = std::sync::Mutex::new(None);
    for number in 1..4 {
        let mut place = PLACE.lock().unwrap();
        *place = Some(SharedValue::new(number));
        assert_eq!(place.as_ref().unwrap().get(), number);
    }
}

#[test]
fn a_value_that_is_put_into_a_static_later_is_its_process_own() {
    static SLOT: std::sync::Mutex<Option<SharedValue<u64>>> = std::sync::Mutex::new(None);
    static BARE: SharedValue<u64> = SharedValue::new(5);
    fn put(value: u64) -> u64 {
        let mut slot = SLOT.lock().unwrap();
        slot.insert(SharedValue::new(value)).get()
    }
    #[parallel(mode = "process", pool = 1)]
    fn both(value: u64) -> (u64, u64) {
        (put(value), BARE.fetch_add(1))
    }
    assert_eq!((put(1), BARE.get()), (1, 5));
    assert_eq!(both(42), (42, 5));
    assert_eq!(BARE.get(), 6, "a static is the same everywhere, whether or not it says so");
}

#[test]
fn a_value_can_be_changed_when_a_thread_ends() {
    struct Count(std::cell::Cell<u64>);
    impl Drop for Count {
        fn drop(&mut self) {
            TOTAL.update(|total| *total += self.0.get());
        }
    }
    #[shared]
    static TOTAL: SharedValue<u64> = SharedValue::new(0);
    thread_local! {
        static COUNT: Count = const { Count(std::cell::Cell::new(0)) };
    }
    let work = || {
        COUNT.with(|count| count.0.set(7));
        // From here on the thread has variables of ours, which end before that one.
        TOTAL.update(|total| *total += 1);
    };
    // A scope would not wait for the variables of its threads.
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(work)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(TOTAL.get(), 24);
}
