//! What is known of a type whose values are erased.

use std::alloc::Layout;
use std::marker::PhantomData;

/// What is known of a type.
#[derive(Debug)]
pub(crate) struct TypeTable {
    pub(super) layout: Layout,
    /// Drops a value in place; `None` where there is nothing to drop.
    drop: Option<unsafe fn(*mut u8)>,
}

/// The table of the type `T`.
pub(crate) struct TypeOf<T>(PhantomData<T>);

impl<T> TypeOf<T> {
    const TABLE: TypeTable = TypeTable {
        layout: Layout::new::<T>(),
        drop: if std::mem::needs_drop::<T>() { Some(drop_value::<T>) } else { None },
    };

    pub(crate) const fn table() -> &'static TypeTable {
        &Self::TABLE
    }
}

/// # Safety
///
/// `place` holds a `T`, which is not used afterwards.
unsafe fn drop_value<T>(place: *mut u8) {
    // SAFETY: as the caller promises.
    unsafe { place.cast::<T>().drop_in_place() };
}

impl TypeTable {
    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    /// Drops `count` values that lie one after the other. When one panics the others are dropped all the same.
    ///
    /// # Safety
    ///
    /// They are values of this type, and are not used afterwards.
    pub(crate) unsafe fn drop_values(&self, first: *mut u8, count: usize) {
        struct Left {
            drop: unsafe fn(*mut u8),
            size: usize,
            next: *mut u8,
            count: usize,
        }
        impl Left {
            fn drop_each(&mut self) {
                while self.count > 0 {
                    let value = self.next;
                    self.count -= 1;
                    self.next = value.wrapping_add(self.size);
                    // SAFETY: a value of this type, as the caller of `drop_values` promises; dropped once, since `next` has moved on.
                    unsafe { (self.drop)(value) };
                }
            }
        }
        impl Drop for Left {
            /// Goes on where a value has panicked.
            fn drop(&mut self) {
                self.drop_each();
            }
        }
        if let Some(drop) = self.drop {
            Left { drop, size: self.size(), next: first, count }.drop_each();
        }
    }
}
