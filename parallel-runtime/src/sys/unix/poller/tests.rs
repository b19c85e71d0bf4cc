//! What every poller must do.

use super::*;

/// What a program finds under the number after it has closed all descriptors, and opened one of its own.
#[test]
#[cfg_attr(miri, ignore = "descriptors are not duplicated there")]
fn a_wake_up_does_not_write_into_a_descriptor_that_has_taken_the_place_of_its_own() {
    let mut poller = Poller::new().unwrap();
    assert!(poller.wake());
    let (reads, writes) = rustix::pipe::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reads, true).unwrap();
    rustix::io::dup2(&writes, &mut poller.wake).unwrap();
    assert!(!poller.wake());
    assert_eq!(rustix::io::read(&reads, &mut [0_u8; 8]), Err(rustix::io::Errno::AGAIN));
    assert!(poller.wait(None).is_err());
}
