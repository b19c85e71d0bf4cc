//! The shapes of structs: the names of their fields, in order.
//!
//! A struct is written as the number of its shape and the values of its fields; the names are written once, after the value that the structs
//! are in. serde tells a name together with its value, so the names are only known at the end of a struct. But a struct of a type nearly
//! always has the shape of the one before: the last shape of each type is remembered, and then each name is compared with what is expected,
//! by its address.
//!
//! What is remembered changes nothing in what is written: a value is laid out the same when it is measured and when it is written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::error::CodecError;
use crate::sys::image;

/// The names of a struct's fields.
pub(super) struct Shape {
    pub(super) names: Box<[&'static str]>,
    /// As it is written.
    pub(super) definition: Box<[u8]>,
}

/// Bytes of a name that is a literal of the executable: offset and length.
pub(super) const NAME: usize = 6;

/// Instead of an offset, for a name that is no literal of the executable: its length and its text follow.
pub(super) const TEXT: u32 = u32::MAX;

/// A name as it is written.
#[inline]
pub(super) fn literal(name: &'static str) -> Option<[u8; NAME]> {
    let offset = image::offset_of_literal(name).filter(|offset| *offset != TEXT)?;
    let len = u16::try_from(name.len()).ok()?;
    let word = u64::from(offset) | u64::from(len) << 32;
    word.to_le_bytes().first_chunk().copied()
}

/// The bytes in front of a name that is written as text.
pub(super) fn text_head(name: &str) -> Result<[u8; NAME], CodecError> {
    let Ok(len) = u16::try_from(name.len()) else {
        return Err(CodecError::new("a name has more than 65,535 bytes"));
    };
    let word = u64::from(TEXT) | u64::from(len) << 32;
    Ok(*word.to_le_bytes().first_chunk().expect("a number of eight bytes has six"))
}

impl Shape {
    fn new(names: &[&'static str]) -> Result<Self, CodecError> {
        let mut definition = Vec::with_capacity(size_of::<u32>() + names.len() * NAME);
        definition.extend((names.len() as u32).to_le_bytes());
        for name in names {
            match literal(name) {
                Some(head) => definition.extend(head),
                None => {
                    definition.extend(text_head(name)?);
                    definition.extend(name.bytes());
                }
            }
        }
        Ok(Self { names: names.into(), definition: definition.into() })
    }

    fn has(&self, names: &[&'static str]) -> bool {
        self.names.len() == names.len() && self.names.iter().zip(names).all(|(one, other)| std::ptr::eq(*one, *other))
    }
}

/// Shapes that are remembered, and are never forgotten, at most.
const MOST: usize = 4096;

/// The shape that a struct of a type had the last time, by what the type is called.
static RECENT: [AtomicPtr<Shape>; 256] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 256];

/// Where in [`RECENT`] the shape of a type is.
#[inline(always)]
pub(super) fn slot_of(type_name: &'static str) -> u8 {
    let address = type_name.as_ptr().addr();
    (address ^ address >> 8 ^ type_name.len().wrapping_mul(31)) as u8
}

/// The shape that is expected of a type.
#[inline(always)]
pub(super) fn expected(slot: u8) -> Option<&'static Shape> {
    // SAFETY: what is stored there is never freed, and was initialised before it was stored.
    unsafe { RECENT[usize::from(slot)].load(Ordering::Acquire).as_ref() }
}

fn remember(slot: u8, shape: &'static Shape) {
    RECENT[usize::from(slot)].store(std::ptr::from_ref(shape).cast_mut(), Ordering::Release);
}

/// Finds or makes the shape of these names. `None` if too many are remembered.
fn learn(names: &[&'static str]) -> Result<Option<&'static Shape>, CodecError> {
    type Key = Vec<(usize, usize)>;
    static KNOWN: LazyLock<Mutex<HashMap<Key, &'static Shape>>> = LazyLock::new(Mutex::default);
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let key: Key = names.iter().map(|name| (name.as_ptr().addr(), name.len())).collect();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shape) = known.get(&key) {
        return Ok(Some(shape));
    }
    if COUNT.load(Ordering::Relaxed) >= MOST {
        return Ok(None);
    }
    let shape: &'static Shape = Box::leak(Box::new(Shape::new(names)?));
    known.insert(key, shape);
    COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(Some(shape))
}

/// The shapes in a value, by their numbers.
pub(super) struct Defined {
    few: [Option<&'static Shape>; 3],
    count: u32,
    /// From the fourth on.
    more: Option<Box<More>>,
}

/// In a box of its own, since few values have them.
#[derive(Default)]
struct More(Vec<Known>);

enum Known {
    Remembered(&'static Shape),
    Own(Box<Shape>),
}

impl Known {
    fn shape(&self) -> &Shape {
        match self {
            Self::Remembered(shape) => shape,
            Self::Own(shape) => shape,
        }
    }
}

impl Defined {
    pub(super) const fn new() -> Self {
        Self { few: [None; 3], count: 0, more: None }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The shape, if there is just one.
    pub(super) fn only(&self) -> Option<&'static Shape> {
        self.few[0].filter(|_| self.count == 1)
    }

    /// To be called between two values.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        if self.count != 0 {
            *self = Self::new();
        }
    }

    /// The definitions, by number.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &[u8]> {
        let few = self.few.iter().flatten().map(|shape| &*shape.definition);
        few.chain(self.more.iter().flat_map(|more| &more.0).map(|known| &*known.shape().definition))
    }

    /// The number of a shape that is remembered.
    #[inline(always)]
    pub(super) fn number_of(&mut self, shape: &'static Shape) -> u32 {
        for number in 0..self.few.len() {
            match self.few[number] {
                Some(known) if std::ptr::eq(known, shape) => return number as u32,
                None => {
                    self.few[number] = Some(shape);
                    self.count += 1;
                    return number as u32;
                }
                Some(_) => {}
            }
        }
        self.number_of_more(shape)
    }

    #[cold]
    fn number_of_more(&mut self, shape: &'static Shape) -> u32 {
        let is_it = |known: &Known| matches!(known, Known::Remembered(other) if std::ptr::eq(*other, shape));
        let More(more) = &mut **self.more.get_or_insert_default();
        let at = more.iter().position(is_it).unwrap_or_else(|| {
            more.push(Known::Remembered(shape));
            self.count += 1;
            more.len() - 1
        });
        (self.few.len() + at) as u32
    }

    /// The number of the shape of these names, which is remembered as that of the type, if it can be.
    #[cold]
    pub(super) fn number_of_names(&mut self, names: &[&'static str], slot: u8) -> Result<u32, CodecError> {
        if let Some(shape) = learn(names)? {
            remember(slot, shape);
            return Ok(self.number_of(shape));
        }
        let own = |known: &Known| matches!(known, Known::Own(shape) if shape.has(names));
        self.fill();
        let More(more) = &mut **self.more.get_or_insert_default();
        let at = match more.iter().rev().take(64).position(own) {
            Some(back) => more.len() - 1 - back,
            None => {
                more.push(Known::Own(Box::new(Shape::new(names)?)));
                self.count += 1;
                more.len() - 1
            }
        };
        Ok((self.few.len() + at) as u32)
    }

    /// Uses up the first places, which are for shapes that are remembered.
    fn fill(&mut self) {
        static NONE: LazyLock<Shape> = LazyLock::new(|| Shape { names: Box::new([]), definition: Box::new([0; 4]) });
        for place in self.few.iter_mut().filter(|place| place.is_none()) {
            *place = Some(&NONE);
            self.count += 1;
        }
    }
}
