//! Coverage: the profile of this process, in a build that measures it.

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod runtime {
    //! The profiling runtime of LLVM, where it is linked. It writes the profile in an exit handler; but what runs before `main` may come before that was
    //! registered.

    use std::arch::{asm, global_asm};

    global_asm!(".weak __llvm_profile_write_file");

    /// Its `int __llvm_profile_write_file(void)`; `None` in a build that measures nothing.
    pub(super) fn write_file() -> Option<unsafe extern "C" fn() -> i32> {
        let address: usize;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads the entry of a symbol in the global offset table, which the linker makes; it is 0 for a weak symbol that is not defined.
        unsafe {
            asm!("mov {}, qword ptr [rip + __llvm_profile_write_file@GOTPCREL]", out(reg) address, options(pure, nomem, nostack));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            asm!(
                "adrp {0}, :got:__llvm_profile_write_file",
                "ldr {0}, [{0}, :got_lo12:__llvm_profile_write_file]",
                out(reg) address,
                options(pure, nomem, nostack)
            );
        }
        // SAFETY: what is defined under this name is that function of LLVM's runtime.
        (address != 0).then(|| unsafe { std::mem::transmute::<usize, unsafe extern "C" fn() -> i32>(address) })
    }
}

/// Whether this build measures its coverage.
pub(crate) fn is_measured() -> bool {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    return runtime::write_file().is_some();
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    return false;
}

/// Writes the profile now, to the file that `LLVM_PROFILE_FILE` names, in which `%p` stands for the process.
pub(crate) fn write() {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    if let Some(write_file) = runtime::write_file() {
        // SAFETY: it may be called at any time, on any thread.
        unsafe { write_file() };
    }
}
