//! Elements in shared memory, sent to another machine.
//!
//! No handle means anything there. So a buffer is sent as its bytes; and a large one that nothing changes any more as the name of a file in
//! `/dev/shm`, which is put there once, for all tasks on that machine, before the first of them begins: a *blob*.

use std::ptr::NonNull;

use bytemuck::Pod;

use super::blob::{Blob, LARGE, name_of};
use super::objects;
use super::space::Space;
use crate::codec::{CodecError, Reader, Writer};
use crate::shared::handle_table;
use crate::sys::role;

/// Writes the name of the blob that a slice lies in, if it is part of a large buffer that nothing changes any more. Before it are written the
/// length, as of a slice that is lent, and a mark.
pub(super) fn send_slice<E: Pod>(slice: &[E], [len, mark]: [u64; 2], writer: &mut Writer<'_>) -> bool {
    let Some(space) = Space::existing().filter(|_| !role::in_worker()) else { return false };
    let handle = space.offset_of(slice.as_ptr()).filter(|_| size_of_val(slice) >= LARGE).and_then(objects::at);
    let Some(handle) = handle.filter(|handle| handle.is_shared()) else { return false };
    let Some(offset) = space.offset_of(slice.as_ptr()).map(|offset| offset - handle.reference().offset) else {
        return false;
    };
    let place = (name_of(&handle, handle_table::far_pool(writer)), offset);
    writer.put(len.to_ne_bytes());
    writer.put(mark.to_ne_bytes());
    if crate::codec::encode(&place, writer).is_err() {
        return false;
    }
    handle_table::note_blob(writer, &handle);
    handle_table::count_shared(writer, size_of_val(slice) as u64);
    true
}

/// Worker: the address of the elements of a slice that was sent by [`send_slice`], in a mapping that stays as long as the message is run.
pub(super) fn receive_slice<E>(reader: &mut Reader<'_>, len: usize) -> Result<NonNull<E>, CodecError> {
    let (name, offset): (String, u64) = crate::codec::decode(reader)?;
    let source =
        reader.source().ok_or_else(|| CodecError::new("a slice of shared memory came where there can be none"))?;
    let blob = Blob::open(&name)?;
    let start = blob.at(offset, len).ok_or_else(|| CodecError::new("the shared data is shorter than it was"))?;
    source.keep(blob);
    Ok(start)
}
