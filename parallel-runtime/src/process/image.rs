//! Functions as offsets from the start of the executable's image, which are the same in every process that runs it.

use std::io;

unsafe extern "C" {
    /// The first byte of the image this code is linked into: its ELF header. Defined by the linker.
    static __ehdr_start: u8;
    /// The first byte after the image's code. Defined by the linker.
    static etext: u8;
    /// The first byte after the image's data. Defined by the linker.
    static end: u8;
}

/// Offset of `e_phoff` in a 64-bit ELF header.
const PROGRAM_HEADERS: usize = 32;

fn start() -> usize {
    (&raw const __ehdr_start).addr()
}

fn end_of_code() -> usize {
    (&raw const etext).addr()
}

/// The offset of a function, or an error if it is not part of the executable.
pub(crate) fn offset_of(function: crate::function::Serve) -> io::Result<u64> {
    offset(function as usize)
}

/// The same for the function that prepares a worker.
pub(crate) fn offset_of_init(init: fn()) -> io::Result<u64> {
    offset(init as usize)
}

/// The offset of a static, if it is part of the executable.
pub(crate) fn offset_of_static<T>(item: &T) -> Option<u64> {
    let address = std::ptr::from_ref(item).addr();
    (start()..(&raw const end).addr()).contains(&address).then(|| (address - start()) as u64)
}

fn offset(address: usize) -> io::Result<u64> {
    if (start()..end_of_code()).contains(&address) {
        Ok((address - start()) as u64)
    } else {
        Err(io::Error::other(
            "the function lies in a shared library, and worker processes find functions only in the executable: link its \
             crate statically (the default for cargo), or use `mode = \"thread\"`",
        ))
    }
}

/// The function at an offset that [`offset_of`] gave in a process of the same executable.
///
/// # Safety
///
/// `offset` came from `offset_of` in a process that runs the same executable.
pub(crate) unsafe fn function_at(offset: u64) -> crate::function::Serve {
    let address = start() + offset as usize;
    let pointer = std::ptr::with_exposed_provenance::<()>(address);
    // SAFETY: by the caller's promise there is a `Serve` function at this offset of this image.
    unsafe { std::mem::transmute::<*const (), crate::function::Serve>(pointer) }
}

/// The function at an offset that [`offset_of_init`] gave in a process of the same executable.
///
/// # Safety
///
/// `offset` came from `offset_of_init` in a process that runs the same executable.
pub(crate) unsafe fn init_at(offset: u64) -> fn() {
    let address = start() + offset as usize;
    let pointer = std::ptr::with_exposed_provenance::<()>(address);
    // SAFETY: by the caller's promise there is a `fn()` at this offset of this image.
    unsafe { std::mem::transmute::<*const (), fn()>(pointer) }
}

/// Checks that this code is part of the executable itself, so that running the executable again runs it again.
pub(crate) fn check() -> io::Result<()> {
    // SAFETY: the header of the image that runs this code is mapped and readable; `e_phoff` is eight bytes at offset 32.
    let headers = unsafe { (&raw const __ehdr_start).add(PROGRAM_HEADERS) };
    // SAFETY: as above; the read is unaligned because the symbol is declared as a byte.
    let headers = unsafe { headers.cast::<u64>().read_unaligned() };
    // SAFETY: `getauxval` only reads the process's auxiliary vector.
    let of_program = unsafe { libc::getauxval(libc::AT_PHDR) };
    if start() as u64 + headers == of_program {
        Ok(())
    } else {
        Err(io::Error::other(
            "worker processes need parallel-runtime in the executable itself, and here it is in a shared library (or the \
             program was started through its dynamic loader): use `mode = \"thread\"`, or start the executable directly",
        ))
    }
}
