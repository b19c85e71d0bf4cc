//! The hash table of a `SharedDict`.
//!
//! A hash table with open addressing and linear probing. The root is a block that holds the number of its places, a power of two, and
//! the places: 0 (never used), 1 (used once), or the offset of a node in the low 48 bits and 16 bits of its hash in the high ones. An
//! insertion, a replacement and a removal are one store to a place; a larger table is made beside the old one, and becomes true by the
//! store to the root.
//!
//! Numbers: how many elements; how many places are not 0; the seed of the hashes.

use std::sync::atomic::Ordering;

use super::container::Open;
use super::contents::{Node, Packed, Taken};
use super::heap::{BLOCK_HEAD, damaged};
use super::words::set;
use crate::error::TaskError;

pub(super) const LEN: usize = 0;
pub(super) const USED: usize = 1;
pub(super) const SEED: usize = 2;

pub(super) const NEVER: u64 = 0;
pub(super) const ONCE: u64 = 1;

/// Bits of a place that hold the offset.
pub(super) const OFFSET: u64 = (1 << 48) - 1;

/// Places of the first table.
pub(super) const FIRST: u64 = 16;

/// The table of an open dictionary.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) block: u64,
    places: u64,
}

impl Table {
    pub(super) fn of(open: &Open<'_>) -> Option<Self> {
        let block = open.head.root.load(Ordering::Acquire);
        if block == 0 {
            return None;
        }
        let places = open.heap.load(block + BLOCK_HEAD);
        if !places.is_power_of_two() || places >= open.heap.room(block) / 8 {
            damaged();
        }
        Some(Self { block, places })
    }

    fn new(open: &Open<'_>, places: u64) -> Result<Self, TaskError> {
        let block = open.heap.allocate(8 + places * 8)?;
        open.heap.store(block + BLOCK_HEAD, places);
        let table = Self { block, places };
        (0..places).for_each(|place| open.heap.store(table.at(place), NEVER));
        Ok(table)
    }

    fn at(self, place: u64) -> u64 {
        self.block + BLOCK_HEAD + 8 + place * 8
    }

    /// The places where an element of this hash may be, in order.
    fn probe(self, hash: u64) -> impl Iterator<Item = u64> {
        (0..self.places).map(move |step| self.at(hash.wrapping_add(step) & (self.places - 1)))
    }

    /// The nodes.
    pub(super) fn nodes(self, open: &Open<'_>) -> impl Iterator<Item = Node> {
        (0..self.places).map(move |place| open.heap.load(self.at(place))).filter(|entry| *entry > ONCE).map(node)
    }
}

pub(super) fn node(entry: u64) -> Node {
    Node(entry & OFFSET)
}

pub(super) fn entry(hash: u64, node: Node) -> u64 {
    hash & !OFFSET | node.0
}

/// Where a key is, or would be.
pub(super) enum Place {
    Of(u64, Node),
    Vacant(u64),
    /// There is no table, or it is full.
    None,
}

pub(super) fn find(open: &Open<'_>, hash: u64, key: &[u8]) -> Place {
    let Some(table) = Table::of(open) else { return Place::None };
    let mut vacant = None;
    for at in table.probe(hash) {
        match open.heap.load(at) {
            NEVER => return vacant.map_or(Place::Vacant(at), Place::Vacant),
            ONCE => {
                vacant.get_or_insert(at);
            }
            entry if entry & !OFFSET == hash & !OFFSET => {
                let node = node(entry);
                if node.hash(open.heap) == hash && node.has_key(open.heap, key) {
                    return Place::Of(at, node);
                }
            }
            _ => {}
        }
    }
    vacant.map_or(Place::None, Place::Vacant)
}

pub(super) fn number(open: &Open<'_>, which: usize) -> u64 {
    open.head.numbers[which].load(Ordering::Relaxed)
}

pub(super) fn set_number(open: &Open<'_>, which: usize, value: u64) {
    set(&open.head.numbers[which], value);
}

/// All nodes.
pub(super) fn nodes(open: &Open<'_>) -> Vec<Node> {
    Table::of(open).into_iter().flat_map(|table| table.nodes(open)).collect()
}

pub(super) fn mend(open: &Open<'_>) {
    let mut blocks = Vec::new();
    let mut used = 0;
    if let Some(table) = Table::of(open) {
        blocks.push(table.block);
        blocks.extend(table.nodes(open).map(|node| node.0));
        used = (0..table.places).filter(|place| open.heap.load(table.at(*place)) != NEVER).count();
    }
    set_number(open, LEN, blocks.len().saturating_sub(1) as u64);
    set_number(open, USED, used as u64);
    open.heap.rebuild(blocks);
}

/// Makes room for one more element.
pub(super) fn make_room(open: &Open<'_>) -> Result<(), TaskError> {
    let Some(old) = Table::of(open) else {
        let table = Table::new(open, FIRST)?;
        set(&open.head.root, table.block);
        return Ok(());
    };
    if (number(open, USED) + 1) * 8 <= old.places * 7 {
        return Ok(());
    }
    // Places that were used once are free again afterwards; where there are many of them the table need not grow.
    // Counted, since the number may have been written over.
    let wanted = ((old.nodes(open).count() as u64 + 1) * 2).next_power_of_two().clamp(FIRST, old.places * 2);
    let table = Table::new(open, wanted)?;
    let mut count = 0;
    for node in old.nodes(open) {
        let hash = node.hash(open.heap);
        let Some(at) = table.probe(hash).find(|at| open.heap.load(*at) == NEVER) else { damaged() };
        open.heap.store(at, entry(hash, node));
        count += 1;
    }
    set(&open.head.root, table.block);
    open.heap.free(old.block);
    set_number(open, LEN, count);
    set_number(open, USED, count);
    Ok(())
}

/// Puts a node where its key belongs, and gives what was there.
pub(super) fn put(open: &Open<'_>, hash: u64, key: &Packed, value: &Packed) -> Result<Option<Taken>, TaskError> {
    make_room(open)?;
    let new = Node::new(open.heap, hash, key, value)?;
    match find(open, hash, key.as_slice()) {
        Place::Of(at, old) => {
            let taken = old.value(open.heap);
            open.heap.store(at, entry(hash, new));
            open.heap.free(old.0);
            Ok(Some(taken))
        }
        Place::Vacant(at) => {
            let fresh = open.heap.load(at) == NEVER;
            open.heap.store(at, entry(hash, new));
            set_number(open, LEN, number(open, LEN) + 1);
            set_number(open, USED, number(open, USED) + u64::from(fresh));
            Ok(None)
        }
        Place::None => damaged(),
    }
}

pub(super) fn take_out(open: &Open<'_>, at: u64, node: Node) -> Taken {
    let taken = node.value(open.heap);
    open.heap.store(at, ONCE);
    open.heap.free(node.0);
    set_number(open, LEN, number(open, LEN).saturating_sub(1));
    taken
}
