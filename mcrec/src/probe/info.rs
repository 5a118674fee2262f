//! What the kernel tells of a loaded program.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd},
};

use libbpf_sys::bpf_prog_info;

/// Fills in `info`.
///
/// # Errors
///
/// When the kernel tells nothing.
///
/// # Safety
///
/// Each pointer in `info` must be null or lead to as much memory as the length beside it says.
pub(super) unsafe fn ask(program: BorrowedFd<'_>, info: &mut bpf_prog_info) -> io::Result<()> {
    let mut length = u32::try_from(size_of::<bpf_prog_info>()).map_err(io::Error::other)?;
    // SAFETY: info and length outlive the call, length is the size of info, and its pointers
    // are as the caller promises.
    let result =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), info, &raw mut length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Without anything that takes memory of ours.
///
/// # Errors
///
/// When the kernel tells nothing.
pub(super) fn info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    let mut info = bpf_prog_info::default();
    // SAFETY: all pointers are null.
    unsafe { ask(program, &mut info) }?;
    Ok(info)
}
