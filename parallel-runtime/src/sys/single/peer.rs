//! No process has been started as a worker.

use std::io;

use super::channel::Channel;

pub(crate) fn check_parent(_channel: &Channel) -> io::Result<()> {
    super::none::check()
}
