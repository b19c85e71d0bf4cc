//! The descriptors that a program which this process starts would inherit.

use std::os::fd::BorrowedFd;

/// So many are looked for at most.
const MOST: usize = 1024;

/// Descriptors beyond the standard streams that have no close-on-exec flag, as C libraries open them. None where there is no `/proc`.
pub(crate) fn inheritable() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|number| *number > 2 && is_inheritable(*number)).take(MOST).collect()
}

fn is_inheritable(number: i32) -> bool {
    // SAFETY: it is borrowed for one question, whose answer for a number that is no descriptor any more is an error.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(descriptor).is_ok_and(|flags| !flags.contains(rustix::io::FdFlags::CLOEXEC))
}

/// Closes one.
///
/// # Safety
///
/// Nothing in this process uses it.
pub(crate) unsafe fn close(number: i32) {
    // SAFETY: as the caller promises. That it is no descriptor any more is no fault.
    unsafe { rustix::io::close(number) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there is no procfs")]
    fn what_has_no_close_on_exec_flag_is_found() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!inheritable().contains(&file.as_raw_fd()));
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        assert!(inheritable().contains(&file.as_raw_fd()));
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).unwrap();
    }
}
