//! No other process runs this executable as a worker: offsets in it mean nothing to anyone else.

use std::io;

pub(crate) fn identity() -> &'static [u8] {
    &[]
}

pub(crate) fn fingerprint() -> u64 {
    0
}

#[inline]
pub(crate) fn offset_of_literal(_text: &'static str) -> Option<u32> {
    None
}

#[inline(always)]
pub(crate) fn is_literal_at(_text: &'static str, _offset: u32) -> bool {
    false
}

pub(crate) fn literal_at(_offset: u32, _len: usize) -> Option<&'static str> {
    None
}

/// What tells a static from all others: its address.
pub(crate) fn offset_of_static<T>(item: &T) -> Option<u64> {
    Some(std::ptr::from_ref(item).addr() as u64)
}

pub(crate) fn initial_word(_offset: u64) -> Option<u64> {
    None
}

pub(crate) fn offset_of(_address: usize) -> io::Result<u64> {
    super::none::check().map(|()| Default::default())
}

pub(crate) fn is_code(_offset: u64) -> bool {
    false
}

pub(crate) fn address_at(offset: u64) -> *const () {
    std::ptr::without_provenance(offset as usize)
}

#[cfg(feature = "dask")]
pub(crate) fn path_for_others() -> io::Result<String> {
    super::none::check().map(|()| Default::default())
}

pub(crate) use super::none::check;
