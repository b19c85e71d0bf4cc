//! `SharedVec`, `SharedSlice`, and slices that travel as places.

use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use parallel_runtime::{ProcessPool, SharedArray, SharedSlice, SharedVec, TaskError, ThreadPool, parallel};

/// Where a slice lies in this process.
#[parallel(mode = "process", pool = 2)]
fn place(numbers: &[u64]) -> (usize, u32) {
    (numbers.as_ptr().addr(), std::process::id())
}

#[parallel(mode = "process", pool = 2)]
fn total(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

#[parallel(mode = "process", pool = 2)]
fn double(numbers: &mut [u64]) -> usize {
    numbers.iter_mut().for_each(|number| *number *= 2);
    numbers.len()
}

#[parallel(mode = "process", pool = 2)]
fn add(from: &[u64], to: &mut [u64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

#[test]
fn parts_of_a_shared_vec_are_not_copied_and_parts_of_a_vec_are() {
    let numbers = SharedVec::from_fn(100_000, |index| index as u64);
    let place_in_worker = |slice: &[u64]| place(slice).0;
    // Two parts have the same distance there as here: they are parts of one mapping.
    let (first, second) = (&numbers[10..], &numbers[50_000..50_010]);
    let distance = second.as_ptr().addr() - first.as_ptr().addr();
    let pids: Vec<(usize, u32)> = place::map((0..20).map(|_| first));
    let (there, pid) = pids[0];
    assert_ne!(pid, std::process::id());
    let (same, _) = pids.iter().find(|(_, other)| *other == pid).copied().unwrap();
    assert_eq!(there, same);
    // Either worker maps the arena where the kernel likes; so the distance is compared within one worker.
    let pool = ProcessPool::new(1);
    let one = place::on(&pool).call(first).0;
    let other = place::on(&pool).call(second).0;
    assert_eq!(other - one, distance);
    let ordinary = numbers.to_vec();
    let copies = [place_in_worker(&ordinary[10..]), place_in_worker(&ordinary[50_000..50_010])];
    assert_ne!(copies[1].wrapping_sub(copies[0]), distance);
}

#[test]
fn every_verb_that_borrows_changes_a_shared_vec_where_it_is() {
    let mut numbers = SharedVec::from_fn(1000, |index| index as u64);
    assert_eq!(double(&mut numbers), 1000);
    assert_eq!(double::map(numbers.chunks_mut(100)), [100; 10]);
    assert!(double::try_map(numbers.chunks_mut(7)).iter().all(Result::is_ok));
    let pool = ProcessPool::new(1);
    double::on(&pool).chunk(3).map(numbers.chunks_mut(10));
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == 16 * index as u64));
    assert_eq!(total(&numbers[1..3]), 48);
    let (from, to) = numbers.split_at_mut(500);
    add(from, to);
    assert_eq!(numbers[500], 500 * 16);
    assert_eq!(numbers[501], 501 * 16 + 16);
}

#[test]
fn shared_and_ordinary_slices_mix_in_one_call() {
    let shared = SharedVec::from_fn(10, |index| index as u64);
    let mut ordinary = vec![1; 10];
    add(&shared, &mut ordinary);
    assert_eq!(ordinary[9], 10);
    let mut back = SharedVec::<u64>::zeroed(10);
    add(&ordinary, &mut back);
    assert_eq!(back[..], ordinary[..]);
    let mut parts: Vec<Vec<u64>> = vec![vec![0; 5]; 4];
    let items = parts.iter_mut().enumerate().map(|(index, part)| (&shared[index..index + 5], part.as_mut_slice()));
    add::map(items);
    assert_eq!(parts[3], [3, 4, 5, 6, 7]);
}

#[test]
fn verbs_that_do_not_wait_take_shared_buffers_as_the_owned_form() {
    let numbers = SharedVec::from_fn(10, |index| index as u64);
    assert_eq!(total::submit(numbers).join().unwrap(), 45);
    let numbers = SharedSlice::from_slice(&[1, 2, 3]);
    assert_eq!(total::submit(numbers.clone()).join().unwrap(), 6);
    assert_eq!(total::map_async((0..3).map(|_| numbers.clone())).join().unwrap(), [6; 3]);
    assert_eq!(double::submit(SharedVec::from_slice(&[1, 2])).join().unwrap(), 2);
    assert_eq!(total::spawn(numbers).join().unwrap(), 6);
    assert_eq!(total::submit(vec![1, 2]).join().unwrap(), 3);
}

#[test]
fn a_buffer_that_a_task_reads_lives_although_its_owner_is_gone() {
    #[parallel(mode = "process", pool = 1)]
    fn slow_total(numbers: &[u64]) -> u64 {
        std::thread::sleep(Duration::from_millis(200));
        numbers.iter().sum()
    }
    let tasks: Vec<_> = (0..3).map(|_| slow_total::submit(SharedVec::from_slice(&[7_u64; 100_000]))).collect();
    // What is freed too early is taken by these, and written over.
    let others: Vec<_> = (0..20).map(|_| SharedVec::from_slice(&[1_u64; 100_000])).collect();
    for task in tasks {
        assert_eq!(task.join().unwrap(), 700_000);
    }
    assert_eq!(others.len(), 20);
}

#[parallel(mode = "process", pool = 2)]
fn moved(mut numbers: SharedVec<u64>) -> SharedVec<u64> {
    numbers[0] += 1;
    numbers
}

#[parallel(mode = "process", pool = 2)]
fn made(len: usize) -> SharedVec<u64> {
    SharedVec::from_fn(len, |index| index as u64)
}

#[test]
fn a_shared_vec_moves_into_a_task_and_out_again() {
    let mut numbers = SharedVec::from_fn(1000, |index| index as u64);
    let place = numbers.as_ptr();
    for _ in 0..3 {
        numbers = moved(numbers);
    }
    assert_eq!((numbers[0], numbers[999]), (3, 999));
    assert_eq!(numbers.as_ptr(), place, "it lies where it lay");
    let many = moved::map((0..50).map(|index| SharedVec::from_slice(&[index])));
    assert!(many.iter().enumerate().all(|(index, numbers)| numbers[0] == index as u64 + 1));
    let task = moved::submit(numbers);
    assert_eq!(task.join().unwrap()[0], 4);
}

#[test]
fn a_task_makes_a_shared_vec_and_returns_it() {
    let numbers = made(100_000);
    assert_eq!(numbers[99_999], 99_999);
    assert!(made::map(0..20).iter().enumerate().all(|(len, numbers)| numbers.len() == len));
    assert_eq!(made::submit(3).join().unwrap(), [0, 1, 2]);
}

#[test]
fn buffers_without_elements_travel_too() {
    let mut nothing = SharedVec::<u64>::zeroed(0);
    assert_eq!(total(&nothing), 0);
    assert_eq!(double(&mut nothing), 0);
    assert!(nothing.share().is_empty());
    #[parallel(mode = "process")]
    fn none(empty: SharedVec<u64>, slice: SharedSlice<u8>) -> (SharedVec<u64>, SharedSlice<u8>) {
        (empty, slice)
    }
    let (empty, slice) = none(SharedVec::zeroed(0), SharedSlice::from_slice(&[]));
    assert!(empty.is_empty() && slice.is_empty());
}

macro_rules! aligned {
    ($($name:ident: $alignment:literal),*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[repr(C, align($alignment))]
        struct $name([u8; $alignment]);
        // SAFETY: zero bytes are valid for an array of bytes.
        unsafe impl Zeroable for $name {}
        // SAFETY: it is an array of bytes without padding, for which any bytes are valid.
        unsafe impl Pod for $name {}
    )*};
}
aligned!(By16: 16, By64: 64, By4096: 4096, By16384: 16384);

#[test]
fn elements_of_every_alignment_lie_at_it() {
    #[parallel(mode = "process", pool = 1)]
    fn first_bytes(a: &[By16], b: &mut [By64], c: &[By4096], d: SharedVec<By16384>) -> [u8; 4] {
        b[0].0[0] += 1;
        [a[1].0[3], b[0].0[0], c[2].0[4095], d[1].0[9]]
    }
    let a = SharedVec::from_fn(3, |_| By16([1; 16]));
    let mut b = SharedVec::from_fn(3, |_| By64([1; 64]));
    let c = SharedVec::from_fn(3, |_| By4096([3; 4096]));
    let d = SharedVec::from_fn(2, |_| By16384([4; 16384]));
    assert!(d.as_ptr().addr().is_multiple_of(16384) && c.as_ptr().addr().is_multiple_of(4096));
    assert_eq!(first_bytes(&a, &mut b, &c, d), [1, 2, 3, 4]);
    assert_eq!(b[0].0[0], 2);
    for len in [1, 3, 5, 100] {
        let small = SharedArray::<[u8; 3]>::new(len);
        small.set(len - 1, [1, 2, 3]);
        assert_eq!(small.get(len - 1), [1, 2, 3]);
    }
}

#[test]
fn the_same_functions_take_shared_slices_on_threads_and_in_place() {
    let mut numbers = SharedVec::from_fn(100, |index| index as u64);
    let threads = ThreadPool::new(2);
    double::on(&threads).map(numbers.chunks_mut(10));
    assert_eq!(numbers[99], 198);
    let numbers = moved::on(&threads).call(numbers);
    assert_eq!(total::on(&threads).submit(numbers).join().unwrap(), 99 * 100 + 1);
}

#[test]
fn what_a_task_changed_before_it_failed_stays_changed() {
    #[parallel(mode = "process", pool = 2)]
    fn half(numbers: &mut [u64], how: u8) {
        numbers[0] = 99;
        match how {
            0 => panic!("half-way"),
            1 => std::process::abort(),
            _ => loop {
                std::hint::spin_loop();
            },
        }
    }
    for how in 0..3 {
        let mut numbers = SharedVec::from_slice(&[1, 2]);
        let mut call = half::options();
        if how == 2 {
            call = call.timeout(Duration::from_millis(500));
        }
        let results = call.try_map([(&mut numbers[..], how)]);
        match how {
            0 => assert!(matches!(results[0], Err(TaskError::Panicked { .. }))),
            1 => assert!(matches!(results[0], Err(TaskError::WorkerDied { .. }))),
            _ => assert!(matches!(results[0], Err(TaskError::TimedOut { .. }))),
        }
        assert_eq!(numbers, [99, 2]);
    }
}

#[test]
fn no_process_writes_any_more_when_the_error_of_its_task_is_there() {
    #[parallel(mode = "process", pool = 2, timeout = "300ms")]
    fn scribble(numbers: &mut [u64]) {
        loop {
            for number in numbers.iter_mut() {
                // SAFETY: an exclusive reference is valid for writes; volatile, so that the loop stays.
                unsafe { std::ptr::from_mut(number).write_volatile(u64::MAX) };
            }
        }
    }
    let mut numbers = SharedVec::<u64>::zeroed(64);
    for _ in 0..3 {
        let results = scribble::try_map(numbers.chunks_mut(32));
        assert!(results.iter().all(|result| matches!(result, Err(TaskError::TimedOut { .. }))));
        numbers.fill(0);
        std::thread::sleep(Duration::from_millis(50));
        assert!(numbers.iter().all(|number| *number == 0));
    }
}

#[test]
fn each_try_finds_shared_memory_as_it_was() {
    #[parallel(mode = "process", pool = 2, retries = 2)]
    fn add_one(numbers: &mut [u64], marker: &str) {
        numbers.iter_mut().for_each(|number| *number += 1);
        if std::fs::remove_file(marker).is_ok() {
            std::process::abort();
        }
    }
    let marker = parallel_workspace::scratch("shared-retries").join("marker");
    let marker = marker.to_str().unwrap();
    let mut numbers = SharedVec::from_fn(1000, |index| index as u64);
    std::fs::write(marker, "").unwrap();
    add_one(&mut numbers, marker);
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == index as u64 + 1));
    std::fs::write(marker, "").unwrap();
    add_one::map(numbers.chunks_mut(50).map(|part| (part, marker)));
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == index as u64 + 2));
    std::fs::write(marker, "").unwrap();
    add_one::submit(numbers, marker.to_owned()).join().unwrap();
}

#[test]
fn a_task_that_has_taken_a_shared_vec_is_not_tried_again() {
    #[parallel(mode = "process", pool = 1, retries = 5)]
    fn swallow(numbers: SharedVec<u64>, path: &str) -> SharedVec<u64> {
        let _ = std::fs::OpenOptions::new().append(true).create(true).open(path).map(|mut file| {
            use std::io::Write;
            file.write_all(b"x")
        });
        assert!(numbers.len() < 10);
        std::process::abort()
    }
    let path = parallel_workspace::scratch("swallow").join("tries");
    let path = path.to_str().unwrap();
    for result in swallow::try_map([(SharedVec::zeroed(3), path), (SharedVec::zeroed(4), path)]) {
        assert!(matches!(result, Err(TaskError::WorkerDied { .. })), "{result:?}");
    }
    assert!(swallow::submit(SharedVec::zeroed(1), path.to_owned()).join().is_err());
    assert_eq!(std::fs::metadata(path).unwrap().len(), 3);
}

#[test]
fn memory_that_is_used_again_reads_as_zeros() {
    for _ in 0..5 {
        let mut numbers = SharedVec::<u64>::zeroed(50_000);
        assert!(numbers.iter().all(|number| *number == 0));
        numbers.fill(u64::MAX);
    }
    for _ in 0..5 {
        let array = SharedArray::<u64>::new(100);
        assert_eq!(array.to_vec(), [0; 100]);
        array.lock().unwrap().fill(u64::MAX);
    }
}

#[test]
fn more_than_there_is_is_an_error_before_anything_is_touched() {
    let error = SharedVec::<u64>::try_zeroed(1 << 50).unwrap_err();
    let TaskError::OutOfSharedMemory { requested, available } = error else { panic!("{error}") };
    assert!(requested == 1 << 53 && available < requested);
    assert!(SharedVec::<u64>::try_zeroed(usize::MAX).is_err());
    let message = std::panic::catch_unwind(|| SharedVec::<u64>::zeroed(1 << 50)).unwrap_err();
    assert!(message.downcast_ref::<String>().unwrap().contains("shared memory is short"));
}

/// Not where pages cannot be given back: they are filled with zeros there.
#[cfg(not(parallel_portable))]
#[test]
fn buffers_of_several_gibibytes_cost_what_is_touched() {
    let mut numbers = SharedVec::<u64>::zeroed(1 << 29);
    numbers[1 << 28] = 5;
    assert_eq!(total(&numbers[(1 << 28) - 1..(1 << 28) + 1]), 5);
    let numbers = numbers.share();
    #[parallel(mode = "process")]
    fn at(numbers: SharedSlice<u64>, index: usize) -> u64 {
        numbers[index]
    }
    assert_eq!(at(numbers.clone(), 1 << 28), 5);
}
