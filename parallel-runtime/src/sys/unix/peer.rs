//! The process at the other end of a channel.

use std::io;
use std::os::fd::AsFd;

use super::channel::Channel;
use super::{credentials, executable};

/// Makes sure that a channel was made by this process's parent, for the same user, and that it runs the same executable. What is not so has been
/// started as a worker by something else, and must not do what it is told.
///
/// Where the parent's executable cannot be told (no `/proc`, or a parent that may not be looked into) the other two have to do.
pub(crate) fn check_parent(channel: &Channel) -> io::Result<()> {
    let refused = |why: &str| {
        let text = format!("this process was started as a worker by something that is not parallel-runtime: {why}");
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    };
    let (pid, user) =
        credentials::maker_of(channel.descriptor().as_fd()).map_err(|error| refused(&error.to_string()))?;
    if user != rustix::process::geteuid().as_raw() {
        return Err(refused("its socket was made by another user"));
    }
    // SAFETY: `getppid` has no preconditions. (0 for a parent in another namespace, whose number is 0 here, too.)
    let parent = unsafe { libc::getppid() };
    if pid.is_some_and(|pid| pid != parent) {
        return Err(refused("its socket was not made by its parent"));
    }
    if executable::is_another(parent) {
        return Err(refused("its parent runs another executable"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there are no sockets")]
    fn a_socket_that_this_process_made_is_not_its_parents() {
        let (one, _other) = Channel::pair().unwrap();
        let (pid, _) = credentials::maker_of(one.descriptor().as_fd()).unwrap();
        assert!(pid.is_none_or(|pid| pid == std::process::id().cast_signed()));
        if pid.is_some() {
            let error = check_parent(&one).unwrap_err().to_string();
            assert!(error.contains("not made by its parent"), "{error}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(check_parent(&Channel::from_descriptor(file.into())).is_err(), "a file has no other end");
    }
}
