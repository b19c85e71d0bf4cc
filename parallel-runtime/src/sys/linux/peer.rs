//! The process at the other end of a socket.

use std::fs::Metadata;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use super::image::EXECUTABLE;

/// Makes sure that a socket was made by this process's parent, for the same user, and that it runs the same executable. What is not so has been
/// started as a worker by something else, and must not do what it is told.
///
/// Where the parent's executable cannot be told (no `/proc`, or a parent that may not be looked into) the other two have to do.
pub(crate) fn check_parent(socket: BorrowedFd<'_>) -> io::Result<()> {
    let refused = |why: &str| {
        let text = format!("this process was started as a worker by something that is not parallel-runtime: {why}");
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    };
    let maker = maker_of(socket).map_err(|error| refused(&error.to_string()))?;
    if maker.uid != rustix::process::geteuid().as_raw() {
        return Err(refused("its socket was made by another user"));
    }
    // SAFETY: `getppid` has no preconditions. (0 for a parent in another namespace, whose number is 0 here, too.)
    let parent = unsafe { libc::getppid() };
    if maker.pid != parent {
        return Err(refused("its socket was not made by its parent"));
    }
    let same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    match (std::fs::metadata(EXECUTABLE), std::fs::metadata(format!("/proc/{parent}/exe"))) {
        (Ok(ours), Ok(theirs)) if !same(&ours, &theirs) => Err(refused("its parent runs another executable")),
        _ => Ok(()),
    }
}

/// The process that made a socket by `socketpair`: see `SO_PEERCRED` in unix(7).
fn maker_of(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut maker = MaybeUninit::<libc::ucred>::zeroed();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are to a value of `len` bytes, and to `len`; the kernel writes no more.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            maker.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is three integers, and began as zeros.
    Ok(unsafe { maker.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there are no sockets")]
    fn a_socket_that_this_process_made_is_not_its_parents() {
        let (one, _other) = UnixDatagram::pair().unwrap();
        assert_eq!(maker_of(one.as_fd()).unwrap().pid, std::process::id().cast_signed());
        let error = check_parent(one.as_fd()).unwrap_err().to_string();
        assert!(error.contains("not made by its parent"), "{error}");
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(check_parent(file.as_fd()).is_err(), "a file has no other end");
    }
}
