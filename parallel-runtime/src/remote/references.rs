//! What many items of a map refer to, in memory of its own: see [`function::shared_referent`](crate::function::shared_referent).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::attachment::Purpose;
use crate::codec::{CodecError, ReferenceKey, References, Writer};
use crate::shared::handle_table::{self, HandleTable};
use crate::shared::{Arena, Block};

/// The references that were met last and are in no memory of their own.
const NOTED: usize = 4;

/// Things with memory of their own, at most: a map whose every item refers to another large thing twice would keep all of them.
const MOST: usize = 16;

/// What a map knows of the references in its items.
#[derive(Debug, Default)]
pub(crate) struct SharedReferences {
    noted: [Option<ReferenceKey>; NOTED],
    next: usize,
    stored: Vec<(ReferenceKey, Arc<Stored>)>,
    /// Those that the items which are being written refer to.
    used: Vec<Arc<Stored>>,
}

/// Something that items refer to.
#[derive(Debug)]
pub(crate) struct Stored {
    id: u64,
    block: Block,
    len: u64,
    #[expect(dead_code, reason = "it keeps the objects whose handles are in it")]
    handles: Option<HandleTable>,
}

impl SharedReferences {
    /// Those that were referred to since this was called last.
    pub(super) fn take_used(&mut self) -> Vec<Arc<Stored>> {
        std::mem::take(&mut self.used)
    }
}

/// The references of a map, while one of its messages is written.
pub(super) struct Writing<'r> {
    pub(super) references: &'r mut SharedReferences,
    pub(super) arena: &'r Arc<Arena>,
}

impl References for Writing<'_> {
    #[inline]
    fn place_of(
        &mut self,
        key: ReferenceKey,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Option<[u64; 3]>, CodecError> {
        let SharedReferences { stored, noted, used, .. } = &mut *self.references;
        if let Some((_, stored)) = stored.iter().find(|(known, _)| *known == key) {
            if !used.iter().any(|other| Arc::ptr_eq(other, stored)) {
                used.push(Arc::clone(stored));
            }
            return Ok(Some(stored.place()));
        }
        if stored.len() >= MOST || !noted.contains(&Some(key)) {
            return Ok(None);
        }
        let Some(new) = store(self.arena, encode)? else { return Ok(None) };
        let place = new.place();
        used.push(Arc::clone(&new));
        stored.push((key, new));
        Ok(Some(place))
    }

    fn note(&mut self, key: ReferenceKey) {
        let SharedReferences { noted, next, .. } = &mut *self.references;
        if !noted.contains(&Some(key)) {
            noted[*next] = Some(key);
            *next = (*next + 1) % NOTED;
        }
    }
}

impl Stored {
    fn place(&self) -> [u64; 3] {
        [self.id, self.block.offset(), self.len]
    }
}

/// Puts something into memory of its own. `None` if there is none.
#[cold]
fn store(
    arena: &Arc<Arena>,
    encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<Option<Arc<Stored>>, CodecError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let purpose = handle_table::purpose_in(arena, Purpose::Lend);
    let mut room = 4096;
    for _ in 0..3 {
        let Ok(mut block) = arena.take(room as u64) else { return Ok(None) };
        let there = usize::try_from(block.len()).unwrap_or(room);
        // SAFETY: no worker knows of this block: it was just taken.
        let memory = unsafe { block.bytes_mut(there) };
        let mut writer = handle_table::carrying(Writer::new(memory), purpose);
        encode(&mut writer)?;
        let len = writer.len();
        if writer.overflowed() {
            room = len;
            continue;
        }
        if writer.has_marks() || handle_table::lends(&mut writer) {
            // Not for many.
            return Ok(None);
        }
        let handles = handle_table::take(&mut writer).handles;
        drop(writer);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        return Ok(Some(Arc::new(Stored { id, block, len: len as u64, handles })));
    }
    Ok(None)
}
