//! The descriptors that a program which this process starts would inherit.

use std::os::fd::BorrowedFd;

use bytemuck::{Pod, Zeroable};

use super::descriptor_numbers::open_numbers;

/// So many are looked for at most.
const MOST: usize = 1024;

/// A descriptor, and what file it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Inherited {
    pub(crate) number: u64,
    device: u64,
    inode: u64,
}

/// Descriptors beyond the standard streams that have no close-on-exec flag, as C libraries open them.
pub(crate) fn inheritable() -> Vec<Inherited> {
    open_numbers().filter(|number| *number > 2).filter_map(inherited).take(MOST).collect()
}

/// `None` if it is none, or is closed on exec.
fn inherited(number: i32) -> Option<Inherited> {
    // SAFETY: it is borrowed for two questions, whose answers for a number that is no descriptor any more are errors.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(descriptor).ok()?;
    let file = rustix::fs::fstat(descriptor).ok()?;
    let is_inherited = !flags.contains(rustix::io::FdFlags::CLOEXEC);
    is_inherited.then_some(Inherited { number: number as u64, device: file.st_dev as u64, inode: file.st_ino })
}

/// Closes one that this process has inherited, if it is still what its parent has said that it is: a constructor of a library may have opened
/// something else under its number.
///
/// # Safety
///
/// Nothing in this process uses a descriptor that it has inherited.
pub(crate) unsafe fn close(there: Inherited) {
    let Ok(number) = i32::try_from(there.number) else { return };
    if number > 2 && inherited(number) == Some(there) {
        // SAFETY: as the caller promises.
        unsafe { rustix::io::close(number) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there is no procfs")]
    fn what_has_no_close_on_exec_flag_is_found() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let is_found = || inheritable().iter().any(|there| there.number == file.as_raw_fd() as u64);
        assert!(!is_found());
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        assert!(is_found());
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).unwrap();
    }
}
