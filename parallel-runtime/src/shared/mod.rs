//! Memory that the program and its workers share.
//!
//! | layer | what |
//! | --- | --- |
//! | [`allocator`] | which parts of it are taken: private to the program |
//! | [`arena`] | the program's one segment, and blocks of it |
//! | [`space`] | the arena as a process sees it, program or worker |
//! | [`objects`], [`slab`] | the shared objects in it: the program's records |
//! | [`tables`], [`handle`], [`local_handles`], [`handle_table`] | who has which of them; handles on their way |
//! | [`holds`] | which locks the threads of this process hold |
//! | [`lock`], [`cells`], [`value`], [`array`](mod@array), [`statics`] | a lock that outlives its holder; `SharedValue`, `SharedArray`, `#[shared]` |
//! | `far`, `blob` | what is sent to other machines, behind a feature |
//! | `ndarray`, `arrow` | N-dimensional arrays and data frames, behind features |
//! | [`broken`] | the errors of locks and barriers |
//! | [`containers`], [`sync`] | dictionary, list, queue; lock, event, barrier, semaphore |
//! | [`vec`](mod@vec), [`slice`](mod@slice), [`raw`], [`lending`], [`named`] | `SharedVec` and `SharedSlice`; their slices, which travel as places; segments with a name |

mod allocator;
pub(crate) mod arena;
pub(crate) mod array;
#[cfg(feature = "arrow")]
pub(crate) mod arrow;
#[cfg(feature = "dask")]
pub(crate) mod blob;
pub(crate) mod broken;
mod cells;
pub(crate) mod containers;
mod exchange;
#[cfg(feature = "dask")]
pub(crate) mod far;
pub(crate) mod handle;
pub(crate) mod handle_table;
mod holds;
pub(crate) mod lending;
mod local_handles;
pub(crate) mod lock;
mod named;
#[cfg(feature = "ndarray")]
pub(crate) mod ndarray;
pub(crate) mod objects;
mod offer;
mod or_panic;
pub(crate) mod raw;
mod serial;
mod slab;
pub(crate) mod slice;
pub(crate) mod space;
pub(crate) mod statics;
pub(crate) mod sync;
mod tables;
pub(crate) mod value;
pub(crate) mod vec;

pub(crate) use arena::{Arena, Block, all as all_arenas, allocated_bytes};
pub(crate) use handle::Handle;
pub(crate) use space::Space;
pub(crate) use tables::{Kind, Token};
