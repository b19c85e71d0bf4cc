//! What procfs tells about processes: see proc(5).

use std::ffi::CStr;

fn stat_of(pid: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// A field of a process's `stat`, counted from the one after its name, which may hold anything.
pub(super) fn field(pid: u32, number: usize) -> Option<String> {
    stat_of(pid)?.rsplit_once(')')?.1.split_whitespace().nth(number).map(str::to_owned)
}

/// Why a process that lives does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    Signal,
    Debugger,
}

/// Whether a child is stopped.
pub(crate) fn halt_of(pid: u32) -> Option<Halt> {
    match field(pid, 0)?.as_str() {
        "T" => Some(Halt::Signal),
        "t" => Some(Halt::Debugger),
        _ => None,
    }
}

/// Whether this process has started the one with a number.
pub(crate) fn is_child(pid: u32) -> bool {
    pid != 0 && field(pid, 1).and_then(|parent| parent.parse().ok()) == Some(std::process::id())
}

/// The memory that a process shares with no other, in bytes: pages that are resident, but for those of files and shared memory; the second and the third
/// field of `statm`. `None` for this process. 0 if it is not told.
pub(crate) fn own_memory(pid: Option<u32>) -> u64 {
    let path = pid.map_or_else(|| "/proc/self/statm".to_owned(), |pid| format!("/proc/{pid}/statm"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut fields = text.split(' ').skip(1).filter_map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}

/// How many processes the kernel has ended for want of memory: the counter `oom_kill` of the whole machine and of its containers.
pub(crate) fn memory_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

/// Names this thread, as tools show it; the main thread's name is the process's.
pub(crate) fn name_thread(name: &CStr) {
    let _ = rustix::thread::set_name(name);
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
