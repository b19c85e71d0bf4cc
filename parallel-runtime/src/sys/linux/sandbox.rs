//! What a confined worker may still ask of the kernel.
//!
//! Two layers, both of which a process can only make stricter once they are on:
//!
//! * *Landlock* decides which files can be opened, made, removed or renamed: none but those listed. Descriptors that are open
//!   already (by `init`) stay usable. All rights of its third version (Linux 6.2) are handled, and a kernel that lacks one is an
//!   error.
//! * *seccomp* lets a list of system calls through, and answers all others with `EPERM`: no sockets, no new programs or
//!   processes, no signals to others, no change of owner, mode or times of files, no tracing, mounting or kernel interfaces.
//!   What a later kernel adds is refused too.
//!
//! Both concern single threads, and a thread can make any other thread of its process do things. So both threads of a worker
//! confine themselves, and a worker whose `init` has started more does not start. Descriptors that the program happens to leave
//! open for its children are closed before `init`.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, make_bitflags,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

const LANDLOCK: ABI = ABI::V3;

/// The threads of a worker: the one of the hook, and the one of the tasks.
const THREADS: usize = 2;

/// An error if workers cannot be confined on this system. What the kernel lacks is seen where they are.
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

/// Closes all descriptors but the standard streams.
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing in this process, which has one thread yet, uses a descriptor above the standard streams.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Fails if there are threads that could not be confined.
pub(crate) fn check_threads() -> Result<(), String> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(|error| format!("/proc/self/task: {error}"))?.count();
    if threads > THREADS {
        return Err(format!(
            "`init` has started {} threads, which cannot be confined any more: start them in the tasks",
            threads - THREADS
        ));
    }
    Ok(())
}

/// Confines the calling thread, but for files and directories that it may read, and those that it may write.
pub(crate) fn confine_thread(read: &[String], write: &[String]) -> Result<(), String> {
    give_up_capabilities()?;
    confine_files(read, write)?;
    confine_calls()
}

/// A program that root runs has rights that need no file and no call that is refused: to lift limits on its own memory and priority, for one.
fn give_up_capabilities() -> Result<(), String> {
    let give_up = || {
        let mut sets = rustix::thread::capabilities(None)?;
        for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
            *set = set.difference(*set);
        }
        rustix::thread::set_capabilities(None, sets)
    };
    give_up().map_err(|error| format!("capabilities cannot be given up: {error}"))
}

fn confine_files(read: &[String], write: &[String]) -> Result<(), String> {
    let lacking = |error: &dyn std::fmt::Display| format!("Landlock, of Linux 6.2 or later, is needed: {error}");
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(Ruleset::create)
        .map_err(|error| lacking(&error))?;
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let not_writing = make_bitflags!(AccessFs::{Execute | MakeChar | MakeBlock});
    let writing = AccessFs::from_all(LANDLOCK) & !not_writing;
    let read = read.iter().map(|path| (path, reading));
    let write = write.iter().map(|path| (path, writing));
    for (path, access) in read.chain(write) {
        rules = rules
            .add_rule(rule(path, access).map_err(|error| format!("`{path}`, which is to stay open: {error}"))?)
            .map_err(|error| format!("`{path}`, which is to stay open: {error}"))?;
    }
    let status = rules.restrict_self().map_err(|error| lacking(&error))?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(lacking(&"the kernel enforces a part of it only"));
    }
    Ok(())
}

fn rule(path: &str, access: BitFlags<AccessFs>) -> io::Result<PathBeneath<PathFd>> {
    let is_directory = std::fs::metadata(path)?.is_dir();
    let access = if is_directory { access } else { access & AccessFs::from_file(LANDLOCK) };
    let file = PathFd::new(path).map_err(io::Error::other)?;
    Ok(PathBeneath::new(file, access).set_compatibility(CompatLevel::HardRequirement))
}

fn confine_calls() -> Result<(), String> {
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| format!("seccomp: {error}"))?;
    let apply = |rules, otherwise, action| -> Result<(), seccompiler::Error> {
        let filter = SeccompFilter::new(rules, otherwise, action, architecture)?;
        seccompiler::apply_filter(&BpfProgram::try_from(filter)?)
    };
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    // Its flags lie in memory, where a filter cannot look; the C library falls back to `clone`.
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    apply(BTreeMap::from([(libc::SYS_clone3, vec![])]), SeccompAction::Allow, unknown)
        .and_then(|()| apply(rules()?, refused, SeccompAction::Allow))
        .map_err(|error| format!("seccomp is needed: {error}"))
}

/// The system calls that are let through, and for which arguments.
fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::Error> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FREE.iter().map(|call| (*call, vec![])).collect();
    let word = |argument, operator, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    let pid = u64::from(std::process::id());
    let thread = libc::CLONE_THREAD.cast_unsigned().into();
    let mut conditional = |call: i64, alternatives: Vec<Vec<SeccompCondition>>| -> Result<(), seccompiler::Error> {
        let alternatives: Result<_, _> = alternatives.into_iter().map(SeccompRule::new).collect();
        rules.insert(call, alternatives?);
        Ok(())
    };
    // A thread, not a process.
    conditional(libc::SYS_clone, vec![vec![word(0, MaskedEq(thread), thread)?]])?;
    conditional(libc::SYS_clone3, vec![vec![word(1, Ne, u64::from(u32::MAX))?]])?;
    // To itself alone.
    conditional(libc::SYS_kill, vec![vec![word(0, Eq, pid)?]])?;
    conditional(libc::SYS_tgkill, vec![vec![word(0, Eq, pid)?]])?;
    // Limits are asked for, not set.
    let none = SeccompCondition::new(2, SeccompCmpArgLen::Qword, Eq, 0)?;
    conditional(libc::SYS_prlimit64, vec![vec![word(0, Eq, 0)?, none.clone()], vec![word(0, Eq, pid)?, none]])?;
    // Names for threads and for memory.
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
    let names: Result<Vec<_>, seccompiler::Error> =
        names.into_iter().map(|what| Ok(vec![word(0, Eq, what.cast_unsigned().into())?])).collect();
    conditional(libc::SYS_prctl, names?)?;
    // What asks, and what concerns a descriptor alone: others type into the program's terminal, or send signals.
    let harmless: Result<Vec<_>, seccompiler::Error> =
        HARMLESS.into_iter().map(|what| Ok(vec![word(1, Eq, what)?])).collect();
    conditional(libc::SYS_ioctl, harmless?)?;
    // No signals to others for what happens on a descriptor.
    const F_SETSIG: u64 = 10;
    const F_SETOWN_EX: u64 = 15;
    let setown = libc::F_SETOWN.cast_unsigned().into();
    let setfl = libc::F_SETFL.cast_unsigned().into();
    let asynchronous = libc::O_ASYNC.cast_unsigned().into();
    let others = vec![word(1, Ne, setown)?, word(1, Ne, F_SETSIG)?, word(1, Ne, F_SETOWN_EX)?, word(1, Ne, setfl)?];
    let flags = vec![word(1, Eq, setfl)?, word(2, MaskedEq(asynchronous), 0)?];
    conditional(libc::SYS_fcntl, vec![others, flags])?;
    Ok(rules)
}

/// The system calls that are let through whatever their arguments: a computation with threads and memory, descriptors that are
/// open, and files as far as Landlock allows them.
#[rustfmt::skip]
const FREE: &[i64] = &[
    // Memory.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_msync, libc::SYS_membarrier,
    libc::SYS_memfd_create, libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_set_mempolicy,
    // Threads.
    libc::SYS_futex, FUTEX_WAITV, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_set_tid_address,
    libc::SYS_rseq, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min, libc::SYS_getcpu,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_restart_syscall, libc::SYS_wait4, libc::SYS_waitid,
    // Signals within the process.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack,
    // Time.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_setitimer, libc::SYS_getitimer, libc::SYS_timer_create,
    libc::SYS_timer_settime, libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // Descriptors that are open. `sendto` and `recvfrom` are for the worker's own socket: there is no other.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_eventfd2, libc::SYS_signalfd4,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_copy_file_range, libc::SYS_sendfile,
    libc::SYS_splice, libc::SYS_tee, libc::SYS_vmsplice, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_ftruncate,
    libc::SYS_fallocate, libc::SYS_flock, libc::SYS_fadvise64, libc::SYS_readahead, SYNC_FILE_RANGE,
    // Files, as far as Landlock allows.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_mkdirat, libc::SYS_unlinkat, RENAMEAT, libc::SYS_renameat2, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_readlinkat, libc::SYS_truncate, libc::SYS_newfstatat, libc::SYS_fstat,
    libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_umask,
    // Who and where am I.
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getgroups,
    libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getpgid, libc::SYS_getsid, libc::SYS_uname, libc::SYS_sysinfo,
    libc::SYS_getrusage, libc::SYS_getpriority, libc::SYS_getrandom, libc::SYS_capget,
    #[cfg(target_arch = "x86_64")] libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")] libc::SYS_time,
    #[cfg(target_arch = "x86_64")] libc::SYS_alarm,
    #[cfg(target_arch = "x86_64")] libc::SYS_pause,
    #[cfg(target_arch = "x86_64")] libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")] libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")] libc::SYS_eventfd,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
    #[cfg(target_arch = "x86_64")] libc::SYS_select,
    #[cfg(target_arch = "x86_64")] libc::SYS_open,
    #[cfg(target_arch = "x86_64")] libc::SYS_creat,
    #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_getdents,
    #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_link,
    #[cfg(target_arch = "x86_64")] libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")] libc::SYS_getrlimit,
];

/// FIONREAD, FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ: the kernel's `asm-generic/ioctls.h`. The crate `libc` has them as numbers of another type for musl.
const HARMLESS: [u64; 5] = [0x541b, 0x5451, 0x5450, 0x5401, 0x5413];

/// The crate `libc` has no names for these on 64-bit ARM, whose numbers are those of the kernel's `asm-generic/unistd.h`.
const RENAMEAT: i64 = if cfg!(target_arch = "x86_64") { 264 } else { 38 };
const SYNC_FILE_RANGE: i64 = if cfg!(target_arch = "x86_64") { 277 } else { 84 };

/// `futex_waitv`, which the crate `libc` does not name on every architecture; the number is the same on all.
const FUTEX_WAITV: i64 = 449;
