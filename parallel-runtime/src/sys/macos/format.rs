//! Where things are in an executable: Mach-O, as in <mach-o/loader.h>.

use std::ops::Range;

unsafe extern "C" {
    /// The first byte of the image this code is linked into: its header. Defined by the linker.
    static __dso_handle: u8;
    fn _NSGetMachExecuteHeader() -> *const u8;
}

/// Bytes of the header, and where it has the number of commands.
const HEADER: usize = 32;
const COMMANDS: usize = 16;

/// Commands of a segment and of the image's identity, and where the latter is.
const LC_SEGMENT_64: u32 = 0x19;
const LC_UUID: u32 = 0x1b;
const UUID: usize = 8;

/// Offsets in the command of a segment.
const NAME: usize = 8;
const ADDRESS: usize = 24;
const SIZE: usize = 32;
const FILE_OFFSET: usize = 40;
const FILE_SIZE: usize = 48;
const SECTIONS: usize = 64;
const SEGMENT_COMMAND: usize = 72;

/// Bytes of a section's description, and offsets in it.
const SECTION: usize = 80;
const SECTION_ADDRESS: usize = 32;
const SECTION_SIZE: usize = 40;

/// The address of the image.
#[inline(always)]
pub(super) fn start() -> usize {
    (&raw const __dso_handle).addr()
}

/// A number in the header or in the commands after it.
fn header<T: bytemuck::AnyBitPattern>(offset: usize) -> T {
    let number = std::ptr::with_exposed_provenance::<T>(start() + offset);
    // SAFETY: the header of the image that runs this code, and what it names, are mapped and readable, and any bytes are a `T`.
    unsafe { number.read_unaligned() }
}

/// Where the commands of a kind are.
fn commands(kind: u32) -> impl Iterator<Item = usize> {
    let mut at = HEADER;
    let all = (0..header::<u32>(COMMANDS)).map(move |_| {
        let this = at;
        at += header::<u32>(this + 4) as usize;
        this
    });
    all.filter(move |command| header::<u32>(*command) == kind)
}

/// Whether the name at an offset, ended by zeros, is this one.
fn is_called(at: usize, wanted: &str) -> bool {
    let name = header::<[u8; 16]>(at);
    name.split(|byte| *byte == 0).next() == Some(wanted.as_bytes())
}

fn segment(name: &str) -> Option<usize> {
    commands(LC_SEGMENT_64).find(|command| is_called(command + NAME, name))
}

/// The address of the first byte as the commands have it.
fn first_address() -> u64 {
    segment("__TEXT").map_or(0, |text| header(text + ADDRESS))
}

/// Where a segment lies, as offsets in the image: of so many bytes as `len` says.
fn range_of(segment: usize, len: usize) -> Range<u64> {
    let begin = header::<u64>(segment + ADDRESS).wrapping_sub(first_address());
    begin..begin.saturating_add(header::<u64>(segment + len))
}

/// Code, literals and constants: the segment that is never written.
pub(super) fn constant_parts() -> impl Iterator<Item = Range<u64>> {
    segment("__TEXT").map(|text| range_of(text, SIZE)).into_iter()
}

/// Where the code ends, as an offset in the image.
pub(super) fn end_of_code() -> u64 {
    constant_parts().next().map_or(0, |text| text.end)
}

/// Where the segments end that are part of the program.
pub(super) fn end() -> u64 {
    let is_ours = |command: &usize| !["__PAGEZERO", "__LINKEDIT"].iter().any(|other| is_called(command + NAME, other));
    let ends = commands(LC_SEGMENT_64).filter(is_ours).map(|command| range_of(command, SIZE).end);
    ends.max().unwrap_or(0)
}

/// What a section holds.
pub(super) fn section(name: &str) -> Option<&'static [u8]> {
    let mut sections = commands(LC_SEGMENT_64).flat_map(|command| {
        (0..header::<u32>(command + SECTIONS) as usize).map(move |number| command + SEGMENT_COMMAND + number * SECTION)
    });
    let section = sections.find(|section| is_called(*section, name))?;
    let offset = header::<u64>(section + SECTION_ADDRESS).wrapping_sub(first_address()) as usize;
    let first = std::ptr::with_exposed_provenance::<u8>(start().wrapping_add(offset));
    // SAFETY: the image has a section of this size there, mapped as long as the process lives; those that are asked for are not written after the
    // loader has prepared them.
    Some(unsafe { std::slice::from_raw_parts(first, header::<u64>(section + SECTION_SIZE) as usize) })
}

/// The number that the linker has given the executable.
pub(super) fn build_id() -> Option<Vec<u8>> {
    commands(LC_UUID).next().map(|command| header::<[u8; 16]>(command + UUID).to_vec())
}

/// What tells this image from others, and where it is in the file. In a file for several processors it lies elsewhere.
pub(super) fn marks() -> impl Iterator<Item = (u64, Vec<u8>)> {
    let uuid = commands(LC_UUID).map(|command| ((command + UUID) as u64, header::<[u8; 16]>(command + UUID).to_vec()));
    [(0, header::<[u8; HEADER]>(0).to_vec())].into_iter().chain(uuid)
}

/// Where in the file the eight bytes at an offset are, if they do not begin as zeros. Any number may be asked for.
pub(super) fn place_in_file(offset: u64) -> Option<u64> {
    commands(LC_SEGMENT_64).find_map(|command| {
        let Range { start, end } = range_of(command, FILE_SIZE);
        let is_there = offset >= start && end - start >= 8 && offset - start <= end - start - 8;
        is_there.then(|| header::<u64>(command + FILE_OFFSET) + (offset - start))
    })
}

/// Whether this image is the program: see <crt_externs.h>.
pub(super) fn is_program() -> bool {
    // SAFETY: it has no conditions.
    unsafe { _NSGetMachExecuteHeader() }.addr() == start()
}
