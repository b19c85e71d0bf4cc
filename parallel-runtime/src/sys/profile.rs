//! Coverage: whether this build measures it. Its profile is written by an exit handler, for which a program that ends leaves its workers some time.

#[cfg(all(
    any(target_os = "linux", target_os = "freebsd"),
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
mod runtime {
    use std::arch::asm;

    /// Whether a function of LLVM's profiling runtime is there, which is linked into a build that measures. That it may be missing is said in the very
    /// piece of assembly that asks for it: another piece may come into another object file.
    pub(super) fn is_linked() -> bool {
        let address: usize;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads the entry of a symbol in the global offset table, which the linker makes; it is 0 for a weak symbol that is not defined.
        unsafe {
            asm!(".weak __llvm_profile_write_file", "mov {}, qword ptr [rip + __llvm_profile_write_file@GOTPCREL]", out(reg) address, options(pure, nomem, nostack));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            asm!(
                ".weak __llvm_profile_write_file",
                "adrp {0}, :got:__llvm_profile_write_file",
                "ldr {0}, [{0}, :got_lo12:__llvm_profile_write_file]",
                out(reg) address,
                options(pure, nomem, nostack)
            );
        }
        address != 0
    }
}

/// Whether this build measures its coverage, as far as it is known: the assembly is that of ELF.
pub(crate) fn is_measured() -> bool {
    #[cfg(all(
        any(target_os = "linux", target_os = "freebsd"),
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(miri)
    ))]
    return runtime::is_linked();
    #[cfg(not(all(
        any(target_os = "linux", target_os = "freebsd"),
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(miri)
    )))]
    return false;
}
