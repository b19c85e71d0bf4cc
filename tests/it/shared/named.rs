//! Segments with a name.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use parallel_runtime::{SharedElement, SharedValue, SharedVec, TaskError, parallel};

/// A segment of which this test decides what is done with it.
fn create<T: SharedElement>(name: &str, len: usize) -> Result<SharedVec<T>, TaskError> {
    // SAFETY: the test writes and reads it in turns, in all processes that have it.
    unsafe { SharedVec::create_named(name, len) }
}

/// The same, of one that exists.
fn open_segment<T: SharedElement>(name: &str) -> Result<SharedVec<T>, TaskError> {
    // SAFETY: as in `create`.
    unsafe { SharedVec::open_named(name) }
}

fn name(of: &str) -> String {
    format!("test-{}-{of}", std::process::id())
}

fn file(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

#[parallel(mode = "process", pool = 2)]
fn double(numbers: &mut [i32]) -> i32 {
    numbers.iter_mut().for_each(|number| *number *= 2);
    numbers.iter().sum()
}

#[test]
fn a_lent_segment_stays_mapped_while_another_thread_of_the_task_opens_one() {
    #[parallel(mode = "process", pool = 1)]
    fn work(numbers: &mut [u64], other: String) -> u64 {
        numbers[0] = 1;
        std::thread::scope(|scope| scope.spawn(|| open_segment::<u8>(&other).map(drop)).join().unwrap()).unwrap();
        numbers[0] += 1;
        numbers[0]
    }
    let mut numbers = create::<u64>(&name("lent"), 1000).unwrap();
    let other = name("other");
    let _other = create::<u8>(&other, 1000).unwrap();
    assert_eq!(work(&mut numbers, other.clone()), 2);
    assert_eq!(work(&mut numbers, other), 2);
    assert_eq!(numbers[0], 2);
}

#[test]
fn parts_of_a_named_segment_are_changed_where_they_are() {
    let name = name("parts");
    let mut ours = create::<i32>(&name, 1000).unwrap();
    ours.iter_mut().enumerate().for_each(|(index, number)| *number = index as i32);
    assert_eq!(double::map(ours.chunks_mut(500)).iter().sum::<i32>(), 999_000);
    let bytes = std::fs::read(file(&name)).unwrap();
    assert_eq!((bytes.len(), &bytes[3996..]), (4000, 1998_i32.to_ne_bytes().as_slice()));
    assert_eq!(double::map(ours[..2].chunks_mut(1)), [0, 4]);
}

#[test]
fn a_process_has_a_named_segment_open_once() {
    #[parallel(mode = "process", pool = 1)]
    fn open(name: String, part: &[i32]) -> Result<usize, String> {
        let opened = open_segment::<i32>(&name).map_err(|error| error.to_string())?;
        Ok(opened.len() + part.len())
    }
    let name = name("once");
    let ours = create::<i32>(&name, 1000).unwrap();
    let refused = open_segment::<i32>(&name).unwrap_err().to_string();
    assert!(refused.contains("has it open already"), "{refused}");
    // Neither may a task that was lent a part of it.
    assert!(open(name.clone(), &ours[..10]).unwrap_err().contains("has it open already"));
    assert_eq!(open(name.clone(), &[]), Ok(1000));
    assert_eq!(open(name, &[]), Ok(1000), "the one before was dropped");
}

#[test]
fn tasks_work_on_a_named_segment_whose_name_was_removed() {
    // Python before 3.13 does that when it ends.
    let (made, opened) = (name("made"), name("opened"));
    let mut ours = create::<i32>(&made, 10).unwrap();
    std::fs::write(file(&opened), [1; 40]).unwrap();
    let mut theirs = open_segment::<i32>(&opened).unwrap();
    std::fs::remove_file(file(&made)).unwrap();
    std::fs::remove_file(file(&opened)).unwrap();
    let pool = parallel_runtime::ProcessPool::new(1);
    assert_eq!(double::on(&pool).call(&mut ours), 0);
    assert_eq!(double::on(&pool).call(&mut theirs[..1]), 0x0202_0202);
    drop((ours, theirs));
    let prefix = format!("parallel-{}-", std::process::id());
    let left = std::fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.file_name());
    let mut left = left.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(&prefix));
    assert!(!left.any(|name| name.ends_with("-made") || name.ends_with("-opened")));
}

#[test]
fn a_task_that_outlives_the_call_keeps_the_named_segment_and_retries_find_it_as_it_was() {
    #[parallel(mode = "process", pool = 1)]
    fn total(numbers: &[i32]) -> i32 {
        numbers.iter().sum()
    }
    #[parallel(mode = "process", pool = 1, retries = 2)]
    fn once_more(numbers: &mut [i32], tries: SharedValue<u32>) -> i32 {
        numbers[0] += 1;
        if tries.fetch_add(1) < 2 {
            std::process::abort();
        }
        numbers[0]
    }
    let mut vec = create::<i32>(&name("outlived"), 10).unwrap();
    vec.fill(2);
    assert_eq!(total::submit(vec).join().unwrap(), 20);
    assert!(!file(&name("outlived")).exists());
    let mut vec = create::<i32>(&name("retried"), 10).unwrap();
    let tries = SharedValue::new(0);
    assert_eq!(once_more(&mut vec, tries.clone()), 1);
    assert_eq!((tries.get(), vec[0]), (3, 1));
}

#[test]
fn a_named_segment_is_for_its_user_only_and_goes_with_its_maker() {
    let name = name("life");
    let vec = create::<u8>(&name, 10).unwrap();
    assert_eq!(std::fs::metadata(file(&name)).unwrap().permissions().mode() & 0o777, 0o600);
    let taken = create::<u8>(&name, 10).unwrap_err();
    assert!(matches!(&taken, TaskError::Named { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists));
    drop(vec);
    assert!(!file(&name).exists());
    let ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(&name);
    assert!(!std::fs::read_dir("/dev/shm").unwrap().flatten().any(|entry| ours(&entry)), "no other name is left");
}

#[test]
fn what_cannot_be_a_segment_is_refused_by_name() {
    for bad in ["", "a/b", "../x", ".hidden", "parallel-1-2", "nul\0"] {
        assert!(matches!(create::<u8>(bad, 1), Err(TaskError::Named { .. })), "{bad:?}");
        assert!(open_segment::<u8>(bad).is_err());
    }
    let missing = open_segment::<u8>(&name("missing")).unwrap_err();
    assert!(missing.to_string().contains("missing"), "{missing}");
    assert!(create::<u8>(&name("empty"), 0).is_err());
    let odd = name("odd");
    std::fs::write(file(&odd), [0; 10]).unwrap();
    let error = open_segment::<u64>(&odd).unwrap_err();
    std::fs::remove_file(file(&odd)).unwrap();
    assert!(error.to_string().contains("10 bytes are not a whole number of `u64`"), "{error}");
    let large = create::<u8>(&name("large"), 1 << 50).unwrap_err();
    assert!(matches!(large, TaskError::OutOfSharedMemory { .. } | TaskError::Named { .. }), "{large}");
    assert!(!file(&name("large")).exists());
}

#[test]
fn a_named_segment_cannot_be_moved_to_a_task_but_a_copy_can() {
    #[parallel(mode = "process", pool = 1)]
    fn len(vec: SharedVec<u8>) -> usize {
        vec.len()
    }
    let vec = create::<u8>(&name("moved"), 10).unwrap();
    let copy = SharedVec::from_slice(&vec);
    let refused = len::try_map([vec]);
    assert!(matches!(&refused[0], Err(TaskError::Encode { reason, .. }) if reason.contains("pass a slice of it")));
    assert_eq!(len(copy), 10);
}

fn python(script: &str, name: &str) -> Option<String> {
    let output = match Command::new("python3").args(["-c", script, name]).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("not tested with Python: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Python's own registry would remove what it has only opened (bpo-38119, until 3.13).
const OPEN: &str = "
import sys, struct
from multiprocessing import shared_memory, resource_tracker
resource_tracker.register = lambda *_: None
resource_tracker.unregister = lambda *_: None
";

#[test]
fn python_reads_and_writes_a_segment_of_ours() {
    let name = name("to-python");
    let mut ours = create::<f64>(&name, 1000).unwrap();
    ours.iter_mut().enumerate().for_each(|(index, number)| *number = index as f64);
    let script = format!(
        "{OPEN}
memory = shared_memory.SharedMemory(name=sys.argv[1])
try:
    import numpy
    array = numpy.ndarray((1000,), dtype=numpy.float64, buffer=memory.buf)
except ImportError:
    array = memory.buf.cast('d')
print(sum(array))
array[7] = 0.25
del array
memory.close()
"
    );
    let Some(output) = python(&script, &name) else { return };
    assert_eq!(output.trim(), "499500.0");
    assert_eq!(ours[7], 0.25);
}

#[test]
fn we_read_and_write_a_segment_of_pythons() {
    let name = name("from-python");
    let script = format!(
        "{OPEN}
memory = shared_memory.SharedMemory(name=sys.argv[1], create=True, size=4000)
array = memory.buf.cast('i')
for index in range(1000):
    array[index] = index
del array
memory.close()
"
    );
    if python(&script, &name).is_none() {
        return;
    }
    let mut theirs = open_segment::<i32>(&name).unwrap();
    drop(theirs);
    assert!(file(&name).exists(), "the name is its maker's");
    theirs = open_segment::<i32>(&name).unwrap();
    assert_eq!(double::map(theirs.chunks_mut(250)).iter().sum::<i32>(), 999_000);
    drop(theirs);
    let script = format!(
        "{OPEN}
memory = shared_memory.SharedMemory(name=sys.argv[1])
array = memory.buf.cast('i')
print(array[999])
del array
memory.close()
memory.unlink()
"
    );
    assert_eq!(python(&script, &name).unwrap().trim(), "1998");
    assert!(!file(&name).exists());
}

#[test]
fn a_worker_lets_go_of_segments_whose_names_are_gone() {
    #[parallel(mode = "process", pool = 1)]
    fn mapped(part: &[u8]) -> usize {
        assert_eq!(part[0], 0);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains("worker-lets-go")).count()
    }
    let pool = parallel_runtime::ProcessPool::new(1);
    for round in 0..5 {
        let vec = create::<u8>(&name(&format!("worker-lets-go-{round}")), 100).unwrap();
        assert!(mapped::on(&pool).call(&vec) <= 2);
    }
}
