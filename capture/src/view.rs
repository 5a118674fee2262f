//! A capture that is not whole on disk, as one slice of bytes that is.

use std::{ffi::c_void, io, os::unix::fs::FileExt, ptr};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::source::Source;

/// The bytes of a whole capture. The data is the file's own, mapped; only what does
/// not fill a page, and the footer, takes memory.
#[derive(Debug)]
pub struct View {
    start: *mut c_void,
    /// Of the mapping: whole pages.
    mapped: usize,
    length: usize,
}

// SAFETY: the memory is only ever read, and belongs to the view alone.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    pub(crate) fn of(source: &Source) -> io::Result<Self> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let data = usize::try_from(source.data_end()).map_err(too_large)?;
        let length = data + source.footer().len();
        let page = rustix::param::page_size();
        let mapped = length.next_multiple_of(page).max(page);
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), mapped, writable, MapFlags::PRIVATE) }?;
        let view = Self { start, mapped, length };
        let whole_pages = data / page * page;
        if whole_pages > 0 {
            let over = MapFlags::PRIVATE | MapFlags::FIXED;
            // SAFETY: it replaces pages of the mapping above, which nobody has seen.
            unsafe { mmap(start, whole_pages, ProtFlags::READ, over, source.file(), 0) }?;
        }
        // SAFETY: the rest of the mapping, which is ours alone and may be written.
        let rest = unsafe {
            std::slice::from_raw_parts_mut(
                start.cast::<u8>().add(whole_pages),
                length - whole_pages,
            )
        };
        let (of_file, footer) = rest.split_at_mut(data - whole_pages);
        source.file().read_exact_at(of_file, whole_pages as u64)?;
        footer.copy_from_slice(source.footer());
        Ok(view)
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: that many bytes are mapped for as long as the view lives.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), self.length) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the mapping is the view's own, and slices of it do not outlive it.
        let _ = unsafe { munmap(self.start, self.mapped) };
    }
}
