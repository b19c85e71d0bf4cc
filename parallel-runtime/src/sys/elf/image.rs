//! Functions as offsets from the start of the executable's image, which are the same in every process that runs it.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use super::executable;
use super::program_headers::program_headers;

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

/// In the flags of a part: it can be written.
const WRITABLE: u32 = 2;

fn start() -> usize {
    (&raw const __ehdr_start).addr()
}

fn end_of_code() -> usize {
    (&raw const etext).addr()
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

/// What tells this build of the executable from all others: the identity that the linker has given it (`--build-id`), or else a number that is computed
/// from all that is not written. Both are taken from memory: the file may be another one by now.
pub(crate) fn identity() -> &'static [u8] {
    static IDENTITY: OnceLock<Vec<u8>> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        build_id().unwrap_or_else(|| {
            let mut hasher = std::hash::DefaultHasher::new();
            let constant = loaded_parts().filter(|part| header::<u32>(part + FLAGS) & WRITABLE == 0);
            constant.filter_map(contents).for_each(|bytes| hasher.write(bytes));
            hasher.finish().to_le_bytes().to_vec()
        })
    })
}

/// The same as one number.
pub(crate) fn fingerprint() -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(identity());
    hasher.finish()
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

/// The parts that hold notes, and are never written.
fn notes() -> impl Iterator<Item = usize> {
    parts(NOTE).filter(|part| header::<u32>(part + FLAGS) & WRITABLE == 0)
}

/// The identity that the linker has given the executable, if it has. Notes are laid out as in elf(5).
fn build_id() -> Option<Vec<u8>> {
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

/// Whether a file is the one that this image was loaded from, as far as its notes tell.
fn is_ours(file: &File) -> bool {
    notes().all(|part| {
        let Some(there) = contents(part) else { return true };
        let mut bytes = vec![0; there.len()];
        file.read_exact_at(&mut bytes, header::<u64>(part + FILE_OFFSET)).is_ok() && bytes == there
    })
}

/// The file of the executable, if it is still there.
fn file() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let open = || File::open(executable::path().ok()?).ok().filter(is_ours);
    FILE.get_or_init(open).as_ref()
}

/// The part of the image that holds text literals and is never written, as offsets: where it begins and where it ends. Both are 0 if there
/// is none.
fn literals() -> (u32, u32) {
    /// What lies where literals lie.
    static LITERAL: &str = "where literals lie";
    static LITERALS: OnceLock<(u32, u32)> = OnceLock::new();
    *LITERALS.get_or_init(|| {
        let literal = (LITERAL.as_ptr().addr() as u64).wrapping_sub(start() as u64);
        let word = |part: usize, at: usize| header::<u64>(part + at);
        let first = first_address();
        let holds_it = loaded_parts().find_map(|part| {
            let begin = word(part, ADDRESS).wrapping_sub(first?);
            let until = begin.checked_add(word(part, FILE_SIZE))?;
            let is_constant = header::<u32>(part + FLAGS) & WRITABLE == 0;
            (is_constant && (begin..until).contains(&literal)).then_some((begin, until))
        });
        let (begin, until) = holds_it.unwrap_or_default();
        u32::try_from(begin).ok().zip(u32::try_from(until).ok()).unwrap_or_default()
    })
}

/// The offset of a text literal, if it is part of the executable.
#[inline]
pub(crate) fn offset_of_literal(text: &'static str) -> Option<u32> {
    if cfg!(miri) {
        return None;
    }
    let (begin, until) = literals();
    let offset = text.as_ptr().addr().wrapping_sub(start());
    let is_there = offset >= begin as usize && offset <= until as usize && until as usize - offset >= text.len();
    is_there.then_some(offset as u32)
}

/// Whether a text lies at this offset.
#[inline(always)]
pub(crate) fn is_literal_at(text: &'static str, offset: u32) -> bool {
    !cfg!(miri) && text.as_ptr().addr() == start().wrapping_add(offset as usize)
}

/// The text of `len` bytes at an offset that [`offset_of_literal`] gave in a process of the same executable. `None` if there is none.
pub(crate) fn literal_at(offset: u32, len: usize) -> Option<&'static str> {
    if cfg!(miri) {
        return None;
    }
    let (begin, until) = literals();
    if offset < begin || offset > until || ((until - offset) as usize) < len {
        return None;
    }
    let text = std::ptr::with_exposed_provenance::<u8>(start() + offset as usize);
    // SAFETY: the range lies in a part of the image that is mapped, initialised and not writable as long as the process lives.
    let bytes = unsafe { std::slice::from_raw_parts(text, len) };
    std::str::from_utf8(bytes).ok()
}

/// The offset of a static, if it is part of the executable.
pub(crate) fn offset_of_static<T>(item: &T) -> Option<u64> {
    let address = std::ptr::from_ref(item).addr();
    (start()..(&raw const end).addr()).contains(&address).then(|| (address - start()) as u64)
}

/// What the executable says is at an offset of its image when the program begins: eight bytes, 0 for memory that begins as zeros.
/// `None` if the executable cannot be read.
pub(crate) fn initial_word(offset: u64) -> Option<u64> {
    let mut loaded = loaded_parts().map(|part| {
        let word = |at: usize| header::<u64>(part + at);
        (word(FILE_OFFSET), word(ADDRESS), word(FILE_SIZE))
    });
    let address = first_address()?.wrapping_add(offset);
    // Any number may be asked for.
    let holds = |start: u64, len: u64| address >= start && len >= 8 && address - start <= len - 8;
    let Some((file, start, _)) = loaded.find(|(_, start, len)| holds(*start, *len)) else {
        return Some(0);
    };
    let mut word = [0; 8];
    self::file()?.read_exact_at(&mut word, file + (address - start)).ok()?;
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

/// Whether code can lie at an offset.
pub(crate) fn is_code(offset: u64) -> bool {
    offset < (end_of_code() - start()) as u64
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

/// Checks that this code is part of the executable itself, so that running the executable again runs it again.
pub(crate) fn check() -> io::Result<()> {
    let headers = header::<u64>(PROGRAM_HEADERS) as usize;
    if program_headers().is_none_or(|of_program| start() + headers == of_program) {
        Ok(())
    } else {
        Err(io::Error::other(
            "worker processes need parallel-runtime in the executable itself, and here it is in a shared library (or the \
             program was started through its dynamic loader): use `mode = \"thread\"`, or start the executable directly",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "there is no executable")]
    fn an_executable_has_one_identity() {
        assert!(identity().len() >= 8);
        assert_eq!((identity(), fingerprint()), (identity(), fingerprint()));
        assert!(file().is_some());
    }

    #[test]
    #[cfg_attr(miri, ignore = "there is no executable")]
    fn a_literal_is_found_by_its_offset_and_nothing_else_is() {
        let name = "a name of a field";
        let offset = offset_of_literal(name).expect("it lies in the executable");
        assert!(is_literal_at(name, offset));
        assert_eq!(literal_at(offset, name.len()), Some(name));
        let (begin, until) = literals();
        assert_eq!(
            (literal_at(begin.wrapping_sub(1), 0), literal_at(until, 1), literal_at(0, 1 << 40)),
            (None, None, None)
        );
        assert_eq!(offset_of_literal(String::from("made at run time").leak()), None);
    }
}
