//! Sleeping on a word, by `os_sync_wait_on_address` (macOS 14.4, <os/os_sync_wait_on_address.h>), and before that by `__ulock_wait`, which the former is
//! made of (xnu, bsd/sys/ulock.h). Both with the flag for words that processes share.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

type WaitWithTimeout = unsafe extern "C" fn(*mut c_void, u64, usize, u32, u32, u64) -> c_int;
type Wake = unsafe extern "C" fn(*mut c_void, usize, u32) -> c_int;

/// The functions of macOS 14.4.
struct Public {
    wait: WaitWithTimeout,
    wake_any: Wake,
    wake_all: Wake,
}

const SHARED: u32 = 1;
/// `OS_CLOCK_MACH_ABSOLUTE_TIME`
const CLOCK: u32 = 32;

/// `UL_COMPARE_AND_WAIT_SHARED`, `ULF_WAKE_ALL`, `ULF_NO_ERRNO`
const COMPARE_AND_WAIT: u32 = 3;
const WAKE_ALL: u32 = 0x100;
const NO_ERRNO: u32 = 0x0100_0000;

unsafe extern "C" {
    fn __ulock_wait(operation: u32, address: *mut c_void, value: u64, microseconds: u32) -> c_int;
    fn __ulock_wake(operation: u32, address: *mut c_void, value: u64) -> c_int;
}

fn public() -> Option<&'static Public> {
    static PUBLIC: OnceLock<Option<Public>> = OnceLock::new();
    let find = |name: &std::ffi::CStr| {
        // SAFETY: the name ends in a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    };
    let look = || {
        let wait = find(c"os_sync_wait_on_address_with_timeout")?;
        let (any, all) = (find(c"os_sync_wake_by_address_any")?, find(c"os_sync_wake_by_address_all")?);
        // SAFETY: the function of this name has this type, as its header says.
        let wait = unsafe { std::mem::transmute::<*mut c_void, WaitWithTimeout>(wait) };
        // SAFETY: as above.
        let wake_any = unsafe { std::mem::transmute::<*mut c_void, Wake>(any) };
        // SAFETY: as above.
        let wake_all = unsafe { std::mem::transmute::<*mut c_void, Wake>(all) };
        Some(Public { wait, wake_any, wake_all })
    };
    PUBLIC.get_or_init(look).as_ref()
}

/// Looks the functions up. Before the first thread, in a worker: its first thread stays in an initialiser, and the loader may have a lock meanwhile.
pub(crate) fn prepare() {
    let _ = public();
}

/// Sleeps while `word` is `expected`, at most until `deadline`. May return early. Works between processes that share the word.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) {
    // 0 would be no limit. What is too long ends early.
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let address = word.as_ptr().cast();
    if let Some(public) = public() {
        // A day, which is looked again after.
        let nanoseconds =
            left.map_or(86_400_000_000_000, |left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX).max(1));
        // SAFETY: the word is four bytes long, and lives as long as the borrow. All results mean: look again.
        unsafe { (public.wait)(address, expected.into(), size_of::<u32>(), SHARED, CLOCK, nanoseconds) };
    } else {
        let microseconds = left.map_or(0, |left| u32::try_from(left.as_micros()).unwrap_or(u32::MAX).max(1));
        // SAFETY: as above.
        unsafe { __ulock_wait(COMPARE_AND_WAIT | NO_ERRNO, address, expected.into(), microseconds) };
    }
}

/// Wakes a sleeper, or all of them if `count` is more than one: they look again.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let address: *mut c_void = word.as_ptr().cast();
    let Some(Public { wake_any, wake_all, .. }) = public() else {
        let all = if count > 1 { WAKE_ALL } else { 0 };
        // SAFETY: the word is four bytes long, and lives as long as the borrow. An error says that there is no sleeper.
        unsafe { __ulock_wake(COMPARE_AND_WAIT | NO_ERRNO | all, address, 0) };
        return;
    };
    let wake = if count > 1 { wake_all } else { wake_any };
    // SAFETY: as above.
    unsafe { wake(address, size_of::<u32>(), SHARED) };
}
