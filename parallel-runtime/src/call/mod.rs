//! The verbs of an annotated function.
//!
//! What is compiled for each function is here and in [`table`]: thin shells that turn its items into memory of unknown type, and back.
//!
//! | module | what |
//! | --- | --- |
//! | [`function`] | what an annotated function is |
//! | [`table`] | its table, for the engines |
//! | [`items`] | what the verbs over many items take |
//! | [`route`] | where a call goes |
//! | [`verbs`] | the verbs that wait |
//! | [`owned`], [`stream`] | the verbs that do not wait |
//! | [`awaited`](mod@awaited) | `async fn` |
//! | [`pool`] | which pools can run which functions |

mod awaited;
mod function;
mod items;
mod owned;
mod pool;
mod route;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod verbs;

pub use awaited::awaited;
pub use function::{Detached, OwnedFn, ParallelFn, ProcessFn, ProcessOwnedFn, Remote, RemoteOwned};
pub use items::IntoItems;
pub use owned::TrySubmitError;
pub use pool::Pool;
pub use stream::{Imap, ImapUnordered, TaskStream};
pub use verbs::Call;
