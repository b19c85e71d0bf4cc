//! Programs with more rights than their user, and programs that have given rights up.

use std::os::unix::process::CommandExt;
use std::process::Command;

use parallel_runtime::{PoolError, ProcessPool, TaskError, parallel};

/// A user that has no name and no rights.
pub(crate) const UNPRIVILEGED: u32 = 34567;

#[parallel(mode = "process", pool = 1)]
fn rights() -> [u64; 3] {
    here()
}

#[parallel(pool = 1)]
fn on_a_thread() -> [u64; 3] {
    here()
}

/// Real and effective user, and permitted capabilities.
fn here() -> [u64; 3] {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("it is in there").trim();
    // SAFETY: these have no preconditions.
    let users = unsafe { [libc::getuid(), libc::geteuid()] };
    [users[0].into(), users[1].into(), u64::from_str_radix(permitted, 16).expect("a number")]
}

pub(crate) fn run(what: &str) {
    match what {
        // To be run as a set-user-ID program, by another user.
        "raised" => {
            let [user, effective, _] = here();
            assert_ne!(user, effective, "the file system does not honour the set-user-ID bit");
            let refused = |text: &str| assert!(text.contains("more rights than the user who started it"), "{text}");
            match rights::submit().join() {
                Err(TaskError::Spawn(error)) => refused(&error.to_string()),
                other => panic!("{other:?}"),
            }
            match rights::spawn().join() {
                Err(TaskError::Spawn(error)) => refused(&error.to_string()),
                other => panic!("{other:?}"),
            }
            match ProcessPool::new(1).start() {
                Err(PoolError::Spawn(error)) => refused(&error.to_string()),
                other => panic!("{other:?}"),
            }
            // PARALLEL_WORKERS and PARALLEL_MODE mean nothing.
            assert_ne!(ProcessPool::new(0).workers(), 77);
            assert_eq!(on_a_thread(), here(), "threads work as ever");
        }
        // To be run by root.
        "effective" => {
            // SAFETY: it changes the process's user, which no memory depends on.
            assert_eq!(unsafe { libc::seteuid(UNPRIVILEGED) }, 0);
            match rights::submit().join() {
                Err(TaskError::Spawn(error)) => {
                    assert!(error.to_string().contains("real and the effective user"), "{error}")
                }
                other => panic!("{other:?}"),
            }
        }
        // To be run by root, as a set-user-ID program of root's.
        "given-up" => {
            // SAFETY: it changes the process's user, which no memory depends on.
            assert_eq!(unsafe { libc::setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED) }, 0);
            let [user, effective, capabilities] = rights();
            assert_eq!([user, effective, capabilities], [UNPRIVILEGED.into(), UNPRIVILEGED.into(), 0]);
        }
        // To be run by root.
        "capabilities" => {
            let given_up = give_up_a_capability();
            let [.., capabilities] = rights();
            assert_eq!(capabilities & given_up, 0);
            assert_ne!(capabilities, 0, "and keeps the others");
        }
        // Something that is no program of ours starts this executable as a worker.
        "forged" => {
            let (_ours, theirs) = std::os::unix::net::UnixDatagram::pair().expect("sockets");
            let ours = std::env::current_exe().expect("it has a path");
            let started = Command::new("/bin/sh")
                .args(["-c", "\"$0\" idle; echo \"$?\""])
                .arg(ours)
                .env("__PARALLEL_RUNTIME_WORKER", "1")
                .stdin(std::os::fd::OwnedFd::from(theirs))
                .arg0("sh")
                .output()
                .expect("there is a shell");
            let said = String::from_utf8_lossy(&started.stderr);
            assert!(said.contains("its socket was not made by its parent"), "{said}");
            assert_eq!(String::from_utf8_lossy(&started.stdout), "70\n");
        }
        other => panic!("`{other}` is no such case"),
    }
    println!("ok");
}

/// As its bit.
fn give_up_a_capability() -> u64 {
    /// `CAP_KILL`, which this test does not need.
    const KILL: u32 = 5;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Set {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let mut sets = [Set::default(); 2];
    // SAFETY: the header and the two sets are laid out as capget(2) says.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) }, 0);
    sets[0].effective &= !(1 << KILL);
    sets[0].permitted &= !(1 << KILL);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) }, 0);
    1 << KILL
}
