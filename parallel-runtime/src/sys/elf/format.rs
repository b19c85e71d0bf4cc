//! Where things are in an executable: ELF, as in elf(5).

use std::ops::Range;

use super::program_headers::program_headers;

unsafe extern "C" {
    /// The first byte of the image this code is linked into: its ELF header. Defined by the linker.
    static __ehdr_start: u8;
    /// The first byte after the image's code. Defined by the linker.
    static etext: u8;
    /// The first byte after the image's data. Defined by the linker.
    #[link_name = "end"]
    static END: u8;
}

/// Offset of `e_phoff` in a 64-bit ELF header, and of the size and the number of the program headers.
const PROGRAM_HEADERS: usize = 32;
const HEADER_SIZE: usize = 54;
const HEADERS: usize = 56;

/// The type of a program header of a part that holds notes; and of a note, with its owner's name, that says which build this is.
const NOTE: u32 = 4;
const BUILD_ID: u32 = 3;
const BUILD_ID_OWNER: &[u8] = b"GNU\0";

/// The type of a program header of a part that is loaded, and offsets in it: where the part lies in the file and in memory, and how
/// much of it is in the file.
const LOAD: u32 = 1;
const FLAGS: usize = 4;
const FILE_OFFSET: usize = 8;
const ADDRESS: usize = 16;
const FILE_SIZE: usize = 32;

/// How much of a part is compared with the file.
const MARK: usize = 4096;

/// In the flags of a part: it can be written, and read.
const WRITABLE: u32 = 2;
const READABLE: u32 = 4;

/// The address of the image.
#[inline(always)]
pub(super) fn start() -> usize {
    (&raw const __ehdr_start).addr()
}

/// Where the code ends, as an offset in the image.
#[inline]
pub(super) fn end_of_code() -> u64 {
    ((&raw const etext).addr() - start()) as u64
}

/// Where the image ends.
pub(super) fn end() -> u64 {
    ((&raw const END).addr() - start()) as u64
}

/// A number in the ELF header or in one of the program headers.
fn header<T: bytemuck::AnyBitPattern>(offset: usize) -> T {
    let number = std::ptr::with_exposed_provenance::<T>(start() + offset);
    // SAFETY: the header of the image that runs this code, and what it names, are mapped and readable, and any bytes are a `T`.
    unsafe { number.read_unaligned() }
}

/// Where the program headers of the parts of a kind lie in the image.
fn parts(kind: u32) -> impl Iterator<Item = usize> + Clone {
    let parts = (0..usize::from(header::<u16>(HEADERS)))
        .map(|number| header::<u64>(PROGRAM_HEADERS) as usize + number * usize::from(header::<u16>(HEADER_SIZE)));
    parts.filter(move |part| header::<u32>(*part) == kind)
}

fn loaded_parts() -> impl Iterator<Item = usize> + Clone {
    parts(LOAD)
}

/// The difference between addresses as the headers have them and offsets in the image: where the linker put the first byte, 0 unless the executable
/// must lie at a certain address.
fn first_address() -> Option<u64> {
    loaded_parts().map(|part| header::<u64>(part + ADDRESS).wrapping_sub(header::<u64>(part + FILE_OFFSET))).next()
}

/// What lies in memory of a part that is never written.
fn contents(part: usize) -> Option<&'static [u8]> {
    let offset = usize::try_from(header::<u64>(part + ADDRESS).wrapping_sub(first_address()?)).ok()?;
    let len = usize::try_from(header::<u64>(part + FILE_SIZE)).ok()?;
    let start = std::ptr::with_exposed_provenance::<u8>(start().wrapping_add(offset));
    // SAFETY: the headers of the image that runs this code say that so many bytes lie there, mapped as long as the process lives, and not writable.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

/// Where a part begins as an offset in the image, and where what the file has of it ends.
fn range_of(part: usize) -> Option<Range<u64>> {
    let begin = header::<u64>(part + ADDRESS).wrapping_sub(first_address()?);
    Some(begin..begin.checked_add(header::<u64>(part + FILE_SIZE))?)
}

fn is_constant(part: &usize) -> bool {
    header::<u32>(part + FLAGS) & (READABLE | WRITABLE) == READABLE
}

/// Parts that are mapped, initialised and never written, as offsets in the image.
pub(super) fn constant_parts() -> impl Iterator<Item = Range<u64>> {
    loaded_parts().filter(is_constant).filter_map(range_of)
}

/// Where in the file the eight bytes at an offset are, if they do not begin as zeros. Any number may be asked for.
pub(super) fn place_in_file(offset: u64) -> Option<u64> {
    loaded_parts().find_map(|part| {
        let Range { start, end } = range_of(part)?;
        let is_there = offset >= start && end - start >= 8 && offset - start <= end - start - 8;
        is_there.then(|| header::<u64>(part + FILE_OFFSET) + (offset - start))
    })
}

/// What tells this image from others, and where it is in the file.
pub(super) fn marks() -> impl Iterator<Item = (u64, &'static [u8])> {
    // Not all linkers write notes that tell: so the headers, and what comes after them, count too.
    let first = loaded_parts().take(1).filter(is_constant);
    let marks = notes().chain(first).filter_map(|part| Some((header::<u64>(part + FILE_OFFSET), contents(part)?)));
    marks.map(|(place, bytes)| (place, &bytes[..bytes.len().min(MARK)]))
}

/// The parts that hold notes, and are never written.
fn notes() -> impl Iterator<Item = usize> {
    let is_loaded = |note: &Range<u64>| constant_parts().any(|part| part.start <= note.start && note.end <= part.end);
    parts(NOTE).filter(is_constant).filter(move |note| range_of(*note).as_ref().is_some_and(is_loaded))
}

/// The identity that the linker has given the executable, if it has. Notes are laid out as in elf(5).
pub(super) fn build_id() -> Option<Vec<u8>> {
    notes().filter_map(contents).find_map(|mut rest| {
        while let Some((sizes, content)) = rest.split_at_checked(12) {
            let number = |at: usize| u32::from_ne_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]]);
            let (name_len, len) = (number(0) as usize, number(4) as usize);
            let (name, after_name) = content.split_at_checked(name_len.next_multiple_of(4))?;
            let (described, after) = after_name.split_at_checked(len.next_multiple_of(4).min(after_name.len()))?;
            if number(8) == BUILD_ID && name == BUILD_ID_OWNER && (8..=64).contains(&len) {
                return described.get(..len).map(<[u8]>::to_vec);
            }
            rest = after;
        }
        None
    })
}

/// Whether this image is the program, as the loader says.
pub(super) fn is_program() -> bool {
    let headers = header::<u64>(PROGRAM_HEADERS) as usize;
    program_headers().is_none_or(|of_program| start() + headers == of_program)
}
