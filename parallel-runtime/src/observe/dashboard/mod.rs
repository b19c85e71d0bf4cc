//! A page in a browser that shows what runs now: `PARALLEL_DASHBOARD=127.0.0.1:8787`.
//!
//! The page is that of a timeline. It asks for more by *server-sent events*: each answer is one event, whose id says how far the page has come; the
//! browser asks again after the time that the event names, with the id of the last. So the server keeps nothing for a page, and each connection serves one
//! request.
//!
//! | module | what |
//! | --- | --- |
//! | [`pools`] | the pools of the program |
//! | [`events`] | what a page is told |
//! | [`server`] | which requests are answered, and with what |

mod events;
mod pools;
mod server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

pub(crate) use pools::{LivePool, Running, watch};

use super::timeline::recorder;
use crate::sys::privilege::variable;
use crate::sys::role;
use crate::sys::streams::Standard;

/// The address that the environment asks for: an address and a port, or a port of this machine's own address.
///
/// # Panics
///
/// If `PARALLEL_DASHBOARD` is something else.
fn asked_for() -> Option<SocketAddr> {
    let text = variable("PARALLEL_DASHBOARD").filter(|text| !text.is_empty())?;
    let name = text.to_string_lossy();
    let loopback = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
    let address = name.parse().ok().or_else(|| loopback(name.strip_prefix("localhost:").unwrap_or(&name)));
    Some(address.filter(|address| address.port() != 0).unwrap_or_else(|| {
        panic!("PARALLEL_DASHBOARD={text:?}: it must be an address with a port, such as `127.0.0.1:8787`, or a port")
    }))
}

/// Begins to record, and serves the page, if the environment says so. To be called before a pool's first task.
pub(crate) fn begin_if_asked() {
    static ASKED: OnceLock<()> = OnceLock::new();
    if ASKED.get().is_some() || role::in_worker() {
        return;
    }
    let address = asked_for();
    ASKED.get_or_init(|| {
        let Some(address) = address else { return };
        recorder::roll(true);
        recorder::begin();
        pools::begin();
        let said = match server::start(address) {
            Ok(()) if address.ip().is_loopback() => format!("the dashboard is at http://{address}/"),
            Ok(()) => format!("the dashboard is at http://{address}/, and other machines may reach it"),
            Err(error) => {
                pools::end();
                recorder::end();
                recorder::roll(false);
                format!("PARALLEL_DASHBOARD={address}: the dashboard cannot be served: {error}")
            }
        };
        Standard::Error.write_all(format!("parallel-runtime: {said}\n").as_bytes());
    });
}
