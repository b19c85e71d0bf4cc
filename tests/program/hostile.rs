//! Workers that write over all the memory that they share with the program.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{
    ProcessPool, SharedArray, SharedDict, SharedList, SharedQueue, SharedSlice, SharedValue, TaskError, parallel,
};
use serde::{Deserialize, Serialize};

/// How much of the shared memory is written over. The tables of who has what lie at its start; the boards, the regions and the blocks of
/// this program lie behind its first object.
const TABLES: usize = 4 << 20;
const BLOCKS: usize = 48 << 20;

/// A small generator of random numbers (xorshift64*, Vigna 2016): the runs can be repeated by their seeds.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A value with a bit of everything that a forged result could turn against its reader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answer {
    number: u64,
    text: String,
    parts: Vec<(u8, Option<Vec<u16>>)>,
    nothing: Vec<()>,
    tree: Tree,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>, Box<Tree>),
}

fn answer(number: u64) -> Answer {
    Answer {
        number,
        text: "x".repeat(number as usize % 300),
        parts: vec![(1, None), (2, Some(vec![number as u16; 5]))],
        nothing: vec![(); 3],
        tree: Tree::Node(Box::new(Tree::Leaf), Box::new(Tree::Leaf)),
    }
}

static POOL: ProcessPool = ProcessPool::new(2).timeout(Duration::from_secs(1)).init(find_memory);

/// The same in a sandbox, where workers share nothing with the program but the pool's own board and messages.
static CONFINED: ProcessPool =
    ProcessPool::new(2).timeout(Duration::from_secs(1)).init(find_memory).sandbox(parallel_runtime::Sandbox::strict());

#[parallel(mode = "process")]
fn honest(number: u64) -> Answer {
    answer(number)
}

#[parallel(mode = "process")]
fn fill(numbers: &mut [u64], value: u64) {
    numbers.fill(value);
}

/// Where the memory is mapped that this worker shares with the program. In a sandbox it is the smaller of two: the other is the worker's own.
static MEMORY: AtomicUsize = AtomicUsize::new(0);

fn find_memory() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let lines = maps.lines().filter(|line| line.contains("memfd:parallel") || line.contains("/dev/shm/parallel-"));
    let ranges = lines.filter_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some((end - start, start))
    });
    let (_, start) = ranges.min().expect("a worker maps the arena");
    MEMORY.store(start, Ordering::Relaxed);
}

/// Writes over shared memory for a while, and then dies, or claims to be done.
///
/// `first`: where, in bytes from its start, the boards, the regions and the blocks of the program begin.
#[parallel(mode = "process")]
fn scribble(first: usize, seed: u64, milliseconds: u64, dies: bool) -> u64 {
    let mut random = Random(seed | 1);
    let start = MEMORY.load(Ordering::Relaxed);
    let at = |offset: usize| -> *mut u64 { std::ptr::with_exposed_provenance_mut(start + (offset & !7)) };
    let (tables, blocks) = ((0, TABLES), (first, BLOCKS));
    // The boards come soon: they get the most.
    let ranges = [tables, blocks, (first, TABLES), (first, TABLES)];
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let style = random.below(6);
    while Instant::now() < end {
        for _ in 0..2000 {
            let (start, reach) = ranges[random.below(4) as usize];
            let mut place = at(start + random.below(reach as u64) as usize);
            if style >= 4 {
                // A word of a slot that is in use, as an attacker that knows the layout chooses it: slots are 256 bytes long, and begin with a word that is not 0.
                let slot = at((first & !255) + 256 * random.below(TABLES as u64 / 256) as usize);
                // SAFETY: none: it lies in the arena, whose memory others use. This is the fault under test.
                if unsafe { slot.read_volatile() } == 0 {
                    continue;
                }
                // SAFETY: as above.
                place = unsafe { slot.add(random.below(32) as usize) };
            }
            // SAFETY: as above.
            let before = unsafe { place.read_volatile() };
            let chosen =
                [0, 1, 3, u64::MAX, 1 << 63, 1 << 48, before.wrapping_add(1), before.wrapping_sub(1), before << 8];
            let value = match style {
                0 => random.next(),
                1 => before ^ 1 << random.below(64),
                2 | 4 => chosen[random.below(chosen.len() as u64) as usize],
                // The word of another place.
                // SAFETY: as above.
                5 => unsafe { at(first + random.below(TABLES as u64) as usize).read_volatile() },
                _ => before.wrapping_add(random.below(1 << 20)),
            };
            // SAFETY: as above.
            unsafe { place.write_volatile(value) };
        }
    }
    if dies {
        std::process::abort();
    }
    seed
}

/// Uses shared objects that were written over. Each use ends; it may panic.
fn use_objects(number: u64, objects: &Objects) -> u64 {
    let uses: [&(dyn Fn() + Sync); 9] = [
        &|| objects.value.update(|value| *value += 1),
        &|| objects.array.set(3, 4),
        &|| drop(objects.dict.insert(number, "x".repeat(number as usize % 900))),
        &|| drop(objects.dict.get(&(number / 2))),
        &|| drop(objects.dict.to_map()),
        &|| objects.list.push(vec![number; 9]),
        &|| drop(objects.list.to_vec()),
        &|| assert!(objects.queue.try_push(number).is_ok() || number > 0),
        &|| assert!(objects.queue.try_pop().is_ok()),
    ];
    let panics = |action: &&(dyn Fn() + Sync)| {
        u64::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(*action)).is_err())
    };
    uses.iter().map(panics).sum()
}

struct Objects {
    value: SharedValue<u64>,
    array: SharedArray<u32>,
    dict: SharedDict<u64, String>,
    list: SharedList<Vec<u64>>,
    queue: SharedQueue<u64>,
}

/// The pool that is attacked.
fn pool(is_confined: bool) -> &'static ProcessPool {
    if is_confined { &CONFINED } else { &POOL }
}

/// So many rounds: whatever the workers write, each task ends, this program lives, and afterwards a new pool works.
pub(crate) fn run(rounds: u64, first_seed: u64, is_confined: bool) {
    let pool = pool(is_confined);
    let (mut right, mut wrong, mut errors) = (0_u64, 0_u64, 0_u64);
    // A container that was written over panics in the process that uses it.
    std::panic::set_hook(Box::new(|_| ()));
    let mut longest = Duration::ZERO;
    // Of the program's arena, behind the tables; a pool in a sandbox has no tables.
    let first = SharedSlice::from_slice(&[0_u8; 8]);
    find_memory();
    let first = if is_confined { 4096 } else { first.as_ptr().addr() - MEMORY.load(Ordering::Relaxed) };
    // On the heap, for a thread that may not come back.
    let objects: &'static Objects = Box::leak(Box::new(Objects {
        value: SharedValue::new(0),
        array: SharedArray::new(100),
        dict: (0..50).map(|key| (key, "y".repeat(key as usize))).collect(),
        list: (0..50).map(|number| vec![number]).collect(),
        queue: SharedQueue::bounded(20),
    }));
    let value = objects.value.get();
    assert_eq!(value, 0);
    for round in first_seed..first_seed + rounds {
        let begun = Instant::now();
        let mut random = Random(round * 0x9e37_79b9 + 1);
        let scribbler = scribble::on(pool).submit((first, round, 1 + random.below(20), random.below(3) > 0));
        let tasks: Vec<_> = (0..40).map(|number| honest::on(pool).submit(number)).collect();
        let mut numbers = vec![0_u64; 3000];
        let mut count = |error: bool, same: bool| {
            *match (error, same) {
                (true, _) => &mut errors,
                (false, true) => &mut right,
                (false, false) => &mut wrong,
            } += 1;
        };
        for result in fill::on(pool).try_map(numbers.chunks_mut(1000).map(|chunk| (chunk, 7))) {
            count(result.is_err(), true);
        }
        for (number, result) in honest::on(pool).chunk(10).try_map(100..200).into_iter().enumerate() {
            count(result.is_err(), result.is_ok_and(|result| result == answer(100 + number as u64)));
        }
        for (number, task) in tasks.into_iter().enumerate() {
            let result = task.join();
            count(result.is_err(), result.is_ok_and(|result| result == answer(number as u64)));
        }
        match scribbler.join() {
            Ok(value) => count(false, value == round),
            Err(TaskError::PoolClosed) => panic!("the pool is open"),
            Err(_) => count(true, false),
        }
        let took = begun.elapsed();
        longest = longest.max(took);
        assert!(took < Duration::from_secs(30), "round {round} took {took:?}");
    }
    pool.kill();
    // Now that no worker writes: a lock of this program's own would never be free again if a worker wrote its number there.
    let using = std::thread::spawn(move || (0..50).map(|number| use_objects(number, objects)).sum::<u64>());
    let begun = Instant::now();
    while !using.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(60), "a shared object is stuck");
        std::thread::sleep(Duration::from_millis(1));
    }
    let panics = using.join().expect("each use is caught");
    let _ = std::panic::take_hook();
    // What was written over belongs to the old workers and to this arena: a pool that starts now is whole.
    let fresh = ProcessPool::new(2);
    for number in 0..100 {
        assert_eq!(honest::on(&fresh).call(number), answer(number));
    }
    println!(
        "{rounds} rounds: {right} right results, {wrong} wrong ones, {errors} errors, {panics} panics of shared objects; the longest round took {longest:.1?}"
    );
}
