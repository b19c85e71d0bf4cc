//! Functions, statics and literals as offsets from the start of the executable's image, which are the same in every process that runs it.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use super::executable;
use super::format::{self, start};

/// What tells this build of the executable from all others: the identity that the linker has given it, or else a number that is computed from all that is
/// not written. Both are taken from memory: the file may be another one by now.
pub(crate) fn identity() -> &'static [u8] {
    static IDENTITY: OnceLock<Vec<u8>> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        format::build_id().unwrap_or_else(|| {
            let mut hasher = std::hash::DefaultHasher::new();
            for part in format::constant_parts() {
                let first = std::ptr::with_exposed_provenance::<u8>(start() + part.start as usize);
                // SAFETY: the part is mapped as long as the process lives, initialised and never written.
                hasher.write(unsafe { std::slice::from_raw_parts(first, (part.end - part.start) as usize) });
            }
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

/// The part of the image that holds text literals and is never written, as offsets: where it begins and where it ends. Both are 0 if there
/// is none.
fn literals() -> (u32, u32) {
    /// What lies where literals lie.
    static LITERAL: &str = "where literals lie";
    static LITERALS: OnceLock<(u32, u32)> = OnceLock::new();
    *LITERALS.get_or_init(|| {
        let literal = (LITERAL.as_ptr().addr() as u64).wrapping_sub(start() as u64);
        let part = format::constant_parts().find(|part| part.contains(&literal)).unwrap_or_default();
        u32::try_from(part.start).ok().zip(u32::try_from(part.end).ok()).unwrap_or_default()
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
    let offset = std::ptr::from_ref(item).addr().checked_sub(start())? as u64;
    (offset < format::end()).then_some(offset)
}

/// The file of the executable, if it is still there. Not kept open: a task may close any descriptor, and open something else under its number.
fn file() -> Option<File> {
    let file = File::open(executable::path().ok()?).ok()?;
    let is_ours = format::marks().all(|(place, mark)| {
        let mut bytes = vec![0; mark.len()];
        file.read_exact_at(&mut bytes, place).is_ok() && bytes == mark
    });
    is_ours.then_some(file)
}

/// What the executable says is at an offset of its image when the program begins: eight bytes, 0 for memory that begins as zeros.
/// `None` if the executable cannot be read.
pub(crate) fn initial_word(offset: u64) -> Option<u64> {
    let Some(place) = format::place_in_file(offset) else { return Some(0) };
    let mut word = [0; 8];
    self::file()?.read_exact_at(&mut word, place).ok()?;
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
    offset < format::end_of_code()
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
    if format::is_program() {
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
