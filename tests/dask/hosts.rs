//! Workers that share neither a file system nor a host.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use parallel_runtime::{DaskPool, SharedSlice, SharedVec, TaskError, parallel};

use super::cluster::python;

/// Where it runs: the name of the host, whether the program's own directory is there, and how many blobs.
#[parallel(mode = "dask")]
fn place(program: String, _x: u64) -> (String, bool, usize) {
    std::thread::sleep(Duration::from_millis(5));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let shm = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    let blobs = shm.filter(|name| name.to_string_lossy().starts_with("parallel_blob-")).count();
    (host, std::fs::exists(program).unwrap(), blobs)
}

#[parallel(mode = "dask")]
fn look_up(table: SharedSlice<u64>, index: usize) -> (String, u64) {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    std::thread::sleep(Duration::from_millis(1));
    (host.trim().to_owned(), table[index])
}

#[parallel(mode = "dask")]
fn abort() {
    std::process::abort();
}

#[test]
#[ignore = "needs Python with `distributed`, and root"]
fn nothing_relies_on_a_common_host() {
    let program = std::env::current_exe().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dask/two-hosts");
    let mut hosts = Command::new(script)
        .args([python(), program.parent().unwrap().to_path_buf()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(hosts.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let Some(address) = said.trim().strip_prefix("ready ") else {
        println!("skipped: {said}");
        hosts.wait().unwrap();
        return;
    };
    let pool = DaskPool::connect_to(address);
    let program = program.to_str().unwrap();
    let table = SharedVec::from_fn(1 << 20, |index| index as u64 * 2).share();
    // Looks until that host has looked.
    let look = |host: &str| loop {
        let found = look_up::on(&pool).map((0..1000).map(|index| (table.clone(), index)));
        assert!(found.iter().enumerate().all(|(index, (_, found))| *found == 2 * index as u64));
        if found.iter().any(|(on, _)| on == host) {
            break;
        }
    };
    look("host1");
    // The other one joins later, and gets executable and data when it needs them.
    writeln!(hosts.stdin.as_mut().unwrap()).unwrap();
    while pool.workers() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    look("host2");
    let places = place::on(&pool).map((0..200).map(|x| (program.to_owned(), x)));
    let places: BTreeSet<_> = places.into_iter().collect();
    let seen: Vec<_> = places.iter().map(|(host, sees, blobs)| (host.as_str(), *sees, *blobs)).collect();
    assert_eq!(seen, [("host1", false, 1), ("host2", false, 1)]);
    match abort::on(&pool).submit(()).join() {
        Err(TaskError::WorkerDied { reason, .. }) => assert!(reason.contains("on host host"), "{reason}"),
        other => panic!("{other:?}"),
    }
    pool.shutdown();
    drop(hosts.stdin.take());
    hosts.wait().unwrap();
}
