//! What tasks print, where the program's output is not read.

use std::io::Write;
use std::time::Duration;

use parallel_runtime::{ProcessPool, parallel};

/// Longer than workers may look unwilling.
const UNREAD: Duration = Duration::from_secs(4);

#[parallel(mode = "process")]
fn say(words: String) {
    print!("{words}");
}

/// Fills standard output, has a worker print, and says on standard error when that has been stuck for a while. Then the pipe is to be read.
pub(crate) fn stuck() {
    let mut output = std::io::stdout();
    let is_full = || {
        let mut polled = libc::pollfd { fd: 1, events: libc::POLLOUT, revents: 0 };
        // SAFETY: `polled` is one entry, which lives during the call.
        unsafe { libc::poll(&raw mut polled, 1, 0) == 0 }
    };
    let pool = ProcessPool::new(1);
    pool.start().expect("a worker");
    while !is_full() {
        output.write_all(&[b'.'; 4096]).and_then(|()| output.flush()).expect("it is a pipe");
    }
    // It has ended before its worker writes what is left of the line.
    say::on(&pool).call("first;".to_owned());
    let threads = format!("/proc/{}/task", pool.worker_pids()[0]);
    let sleeps = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).expect("it is a thread");
        stat.rsplit_once(") ").expect("its name").1.starts_with('S')
    };
    let all_sleep = || std::fs::read_dir(&threads).expect("it lives").flatten().all(sleeps);
    assert!(parallel_workspace::eventually(all_sleep));
    let mut second = say::on(&pool).submit("second;".to_owned());
    assert!(second.join_timeout(UNREAD).is_none());
    eprintln!("stuck");
    second.join().expect("it runs as soon as the pipe is read");
    let stats = pool.stats();
    assert_eq!((stats.worker_deaths, stats.replaced), (0, 0));
}
