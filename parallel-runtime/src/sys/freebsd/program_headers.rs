//! Where the loader says that the program's headers are: see elf_aux_info(3).

/// Their address.
pub(super) fn program_headers() -> Option<usize> {
    let mut address = 0_usize;
    // SAFETY: the value is as long as is said, and is written.
    let failed = unsafe { libc::elf_aux_info(libc::AT_PHDR, (&raw mut address).cast(), size_of::<usize>() as i32) };
    (failed == 0).then_some(address)
}
