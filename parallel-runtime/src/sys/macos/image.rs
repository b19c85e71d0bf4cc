//! Functions as offsets from the start of the executable's image, which are the same in every process that runs it: Mach-O, as in <mach-o/loader.h>.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use super::executable;

unsafe extern "C" {
    /// The first byte of the image this code is linked into: its header. Defined by the linker.
    static __dso_handle: u8;
}

/// Bytes of the header, and where it has the number of commands.
const HEADER: usize = 32;
const COMMANDS: usize = 16;

/// Commands of a segment and of the image's identity.
const LC_SEGMENT_64: u32 = 0x19;
const LC_UUID: u32 = 0x1b;

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

pub(super) fn start() -> usize {
    (&raw const __dso_handle).addr()
}

/// A number in the header or in the commands after it.
fn header<T: bytemuck::AnyBitPattern>(offset: usize) -> T {
    // SAFETY: the header of the image that runs this code, and its commands, are mapped and readable.
    let number = unsafe { (&raw const __dso_handle).add(offset) };
    // SAFETY: as above; the read is unaligned because the symbol is declared as a byte, and any bytes are a `T`.
    unsafe { number.cast::<T>().read_unaligned() }
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

fn name_at(at: usize) -> [u8; 16] {
    header(at)
}

fn is_called(name: [u8; 16], wanted: &str) -> bool {
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    &name[..len] == wanted.as_bytes()
}

fn segment(name: &str) -> Option<usize> {
    commands(LC_SEGMENT_64).find(|command| is_called(name_at(command + NAME), name))
}

/// The address of the first byte as the commands have it.
fn first_address() -> u64 {
    segment("__TEXT").map_or(0, |text| header(text + ADDRESS))
}

/// Where a segment lies, as offsets in the image.
fn range_of(segment: usize) -> Range<u64> {
    let begin = header::<u64>(segment + ADDRESS).wrapping_sub(first_address());
    begin..begin.saturating_add(header::<u64>(segment + SIZE))
}

/// Code, literals and constants: the segment that is never written.
fn text() -> Range<u64> {
    static TEXT: OnceLock<Range<u64>> = OnceLock::new();
    TEXT.get_or_init(|| segment("__TEXT").map_or(0..0, range_of)).clone()
}

/// Where the segments end that are part of the program.
fn end() -> u64 {
    let ours = commands(LC_SEGMENT_64)
        .filter(|command| ["__PAGEZERO", "__LINKEDIT"].iter().all(|other| !is_called(name_at(command + NAME), other)));
    ours.map(|command| range_of(command).end).max().unwrap_or(0)
}

/// What a section holds.
pub(super) fn section(name: &str) -> Option<&'static [u8]> {
    let sections = commands(LC_SEGMENT_64).flat_map(|command| {
        (0..header::<u32>(command + SECTIONS) as usize).map(move |number| command + SEGMENT_COMMAND + number * SECTION)
    });
    let section = sections.into_iter().find(|section| is_called(name_at(*section), name))?;
    let offset = header::<u64>(section + SECTION_ADDRESS).wrapping_sub(first_address()) as usize;
    let first = std::ptr::with_exposed_provenance::<u8>(start().wrapping_add(offset));
    // SAFETY: the image has a section of this size there, mapped as long as the process lives; those that are asked for are not written after the
    // loader has prepared them.
    Some(unsafe { std::slice::from_raw_parts(first, header::<u64>(section + SECTION_SIZE) as usize) })
}

/// What tells this build of the executable from all others: the number that the linker has given it, or else one that is computed from all that is not
/// written.
pub(crate) fn identity() -> &'static [u8] {
    static IDENTITY: OnceLock<Vec<u8>> = OnceLock::new();
    IDENTITY.get_or_init(|| match commands(LC_UUID).next() {
        Some(command) => header::<[u8; 16]>(command + 8).to_vec(),
        None => {
            let mut hasher = std::hash::DefaultHasher::new();
            // SAFETY: the segment is mapped, and never written.
            hasher.write(unsafe { std::slice::from_raw_parts(&raw const __dso_handle, text().end as usize) });
            hasher.finish().to_le_bytes().to_vec()
        }
    })
}

/// The same as one number.
pub(crate) fn fingerprint() -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(identity());
    hasher.finish()
}

/// The offset of a text literal, if it is part of the executable.
#[inline]
pub(crate) fn offset_of_literal(literal: &'static str) -> Option<u32> {
    let (offset, end) = (literal.as_ptr().addr().checked_sub(start())?, text().end as usize);
    (offset <= end && end - offset >= literal.len()).then_some(u32::try_from(offset).ok()?)
}

/// Whether a text lies at this offset.
#[inline(always)]
pub(crate) fn is_literal_at(literal: &'static str, offset: u32) -> bool {
    literal.as_ptr().addr() == start().wrapping_add(offset as usize)
}

/// The text of `len` bytes at an offset that [`offset_of_literal`] gave in a process of the same executable. `None` if there is none.
pub(crate) fn literal_at(offset: u32, len: usize) -> Option<&'static str> {
    let (offset, end) = (offset as usize, text().end as usize);
    if offset > end || end - offset < len {
        return None;
    }
    let literal = std::ptr::with_exposed_provenance::<u8>(start() + offset);
    // SAFETY: the range lies in a segment that is mapped, initialised and not writable as long as the process lives.
    let bytes = unsafe { std::slice::from_raw_parts(literal, len) };
    std::str::from_utf8(bytes).ok()
}

/// The offset of a static, if it is part of the executable.
pub(crate) fn offset_of_static<T>(item: &T) -> Option<u64> {
    let offset = std::ptr::from_ref(item).addr().checked_sub(start())? as u64;
    (offset < end()).then_some(offset)
}

/// The file of the executable, if it is still there and has one image: in a file for several processors it lies elsewhere.
fn file() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let is_ours = |file: &File| {
        let mut first = [0; HEADER];
        let same = file.read_exact_at(&mut first, 0).is_ok() && first == header::<[u8; HEADER]>(0);
        same && commands(LC_UUID).all(|command| {
            let mut there = [0; 16];
            file.read_exact_at(&mut there, command as u64 + 8).is_ok() && there == header::<[u8; 16]>(command + 8)
        })
    };
    FILE.get_or_init(|| File::open(executable::path().ok()?).ok().filter(is_ours)).as_ref()
}

/// What the executable says is at an offset of its image when the program begins: eight bytes, 0 for memory that begins as zeros.
/// `None` if the executable cannot be read.
pub(crate) fn initial_word(offset: u64) -> Option<u64> {
    // Any number may be asked for.
    let place = commands(LC_SEGMENT_64).find_map(|command| {
        let begin = range_of(command).start;
        let len = header::<u64>(command + FILE_SIZE);
        let is_there = offset >= begin && len >= 8 && offset - begin <= len - 8;
        is_there.then(|| header::<u64>(command + FILE_OFFSET) + (offset - begin))
    });
    let Some(place) = place else { return Some(0) };
    let mut word = [0; 8];
    file()?.read_exact_at(&mut word, place).ok()?;
    Some(u64::from_ne_bytes(word))
}

/// The offset of the function at an address, or an error if it is not part of the executable.
pub(crate) fn offset_of(address: usize) -> io::Result<u64> {
    let offset = address.wrapping_sub(start()) as u64;
    if is_code(offset) {
        Ok(offset)
    } else {
        Err(io::Error::other(
            "the function lies in a shared library, and worker processes find functions only in the executable: link its \
             crate statically (the default for cargo), or use `mode = \"thread\"`",
        ))
    }
}

/// Whether code can lie at an offset.
pub(crate) fn is_code(offset: u64) -> bool {
    text().contains(&offset)
}

/// The address of the function at an offset that [`offset_of`] gave in a process of the same executable.
pub(crate) fn address_at(offset: u64) -> *const () {
    std::ptr::with_exposed_provenance(start() + offset as usize)
}

/// Where another process of this machine, of the same user, finds the executable.
#[cfg(feature = "dask")]
pub(crate) fn path_for_others() -> io::Result<String> {
    executable::path_for_others()
}

unsafe extern "C" {
    fn _dyld_get_image_header(number: u32) -> *const u8;
}

/// Checks that this code is part of the executable itself, so that running the executable again runs it again.
pub(crate) fn check() -> io::Result<()> {
    // SAFETY: the first image is the program, as in dyld(3).
    if unsafe { _dyld_get_image_header(0) }.addr() == start() {
        Ok(())
    } else {
        Err(io::Error::other(
            "worker processes need parallel-runtime in the executable itself, and here it is in a shared library: use \
             `mode = \"thread\"`, or link it statically",
        ))
    }
}
