//! Functions as offsets from the start of the executable's image, which are the same in every process that runs it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

unsafe extern "C" {
    /// The first byte of the image this code is linked into: its ELF header. Defined by the linker.
    static __ehdr_start: u8;
    /// The first byte after the image's code. Defined by the linker.
    static etext: u8;
    /// The first byte after the image's data. Defined by the linker.
    static end: u8;
}

/// Offset of `e_phoff` in a 64-bit ELF header, and of the size and the number of the program headers.
const PROGRAM_HEADERS: usize = 32;
const HEADER_SIZE: usize = 54;
const HEADERS: usize = 56;

/// The type of a program header of a part that is loaded, and offsets in it: where the part lies in the file and in memory, and how
/// much of it is in the file.
const LOAD: u32 = 1;
const FILE_OFFSET: usize = 8;
const ADDRESS: usize = 16;
const FILE_SIZE: usize = 32;

fn start() -> usize {
    (&raw const __ehdr_start).addr()
}

fn end_of_code() -> usize {
    (&raw const etext).addr()
}

/// The offset of a static, if it is part of the executable.
pub(crate) fn offset_of_static<T>(item: &T) -> Option<u64> {
    let address = std::ptr::from_ref(item).addr();
    (start()..(&raw const end).addr()).contains(&address).then(|| (address - start()) as u64)
}

/// What the executable says is at an offset of its image when the program begins: eight bytes, 0 for memory that begins as zeros.
/// `None` if the executable cannot be read.
pub(crate) fn initial_word(offset: u64) -> Option<u64> {
    let parts = (0..usize::from(header::<u16>(HEADERS)))
        .map(|number| header::<u64>(PROGRAM_HEADERS) as usize + number * usize::from(header::<u16>(HEADER_SIZE)));
    let mut loaded = parts.filter(|part| header::<u32>(*part) == LOAD).map(|part| {
        let word = |at: usize| header::<u64>(part + at);
        (word(FILE_OFFSET), word(ADDRESS), word(FILE_SIZE))
    });
    // Addresses count from where the linker put the first byte: 0 unless the executable must lie at a certain address.
    let first = loaded.clone().map(|(file, address, _)| address.wrapping_sub(file)).next()?;
    let address = first.wrapping_add(offset);
    let Some((file, start, _)) = loaded.find(|(_, start, len)| *start <= address && address + 8 <= start + len) else {
        return Some(0);
    };
    let mut word = [0; 8];
    File::open("/proc/self/exe").ok()?.read_exact_at(&mut word, file + (address - start)).ok()?;
    Some(u64::from_ne_bytes(word))
}

/// A number in the ELF header or in one of the program headers.
fn header<T: bytemuck::AnyBitPattern>(offset: usize) -> T {
    // SAFETY: the header of the image that runs this code, and the program headers that it names, are mapped and readable.
    let number = unsafe { (&raw const __ehdr_start).add(offset) };
    // SAFETY: as above; the read is unaligned because the symbol is declared as a byte, and any bytes are a `T`.
    unsafe { number.cast::<T>().read_unaligned() }
}

/// The offset of the function at an address, or an error if it is not part of the executable.
pub(crate) fn offset_of(address: usize) -> io::Result<u64> {
    if (start()..end_of_code()).contains(&address) {
        Ok((address - start()) as u64)
    } else {
        Err(io::Error::other(
            "the function lies in a shared library, and worker processes find functions only in the executable: link its \
             crate statically (the default for cargo), or use `mode = \"thread\"`",
        ))
    }
}

/// The address of the function at an offset that [`offset_of`] gave in a process of the same executable.
pub(crate) fn address_at(offset: u64) -> *const () {
    std::ptr::with_exposed_provenance(start() + offset as usize)
}

/// Checks that this code is part of the executable itself, so that running the executable again runs it again.
pub(crate) fn check() -> io::Result<()> {
    let headers: u64 = header(PROGRAM_HEADERS);
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
