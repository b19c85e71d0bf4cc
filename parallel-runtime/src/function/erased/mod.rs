//! Values whose type only their function knows.
//!
//! The engines are compiled once, not once for each function. So what they hold of a function's arguments and results is memory of a
//! size and an alignment, and the function that drops it: a [`TypeTable`]. The typed shells in [`call`](crate::call) put values in and
//! take them out again.
//!
//! The lifetime of an [`ErasedValue`] or an [`ErasedVec`] is that of what the values may borrow: so the compiler sees to it that none of them
//! outlives its borrows. As with a `Box` or a `Vec`, a longer lifetime may stand for a shorter one.

mod items;
mod memory;
mod type_table;
mod value;
mod vec;

#[cfg(test)]
mod tests;

pub(crate) use items::{Items, ItemsOf, all_of};
pub(crate) use type_table::{TypeOf, TypeTable};
pub(crate) use value::ErasedValue;
pub(crate) use vec::{ErasedValues, ErasedVec};
