//! What the engines know of a function: sizes and plain function pointers, so that they are compiled once and not once for each
//! function.
//!
//! The tables are made in `call::table`, which knows the types.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use super::erased::{ErasedValue, TypeTable};
use super::remote::RemoteTable;
use crate::error::TaskError;

/// The future of an `async fn`.
pub(crate) type ErasedFuture = Pin<Box<dyn Future<Output = ErasedValue<'static>> + Send>>;

/// The table of one function with its arguments in one form, borrowed or owned.
#[derive(Debug)]
pub(crate) struct FunctionTable {
    /// Its path.
    pub(crate) name: &'static str,
    pub(crate) item: &'static TypeTable,
    pub(crate) output: &'static TypeTable,
    /// Runs some of the items of a piece, one after the other: see [`Run`].
    pub(crate) run: unsafe fn(&mut Run<'_>),
    /// Whether it is an `async fn`: a worker process then runs many of its bodies at a time.
    pub(crate) is_async: bool,
    /// Moves an item out of its place and gives the future of the call: for an `async fn` alone, whose item borrows nothing.
    pub(crate) future: Option<unsafe fn(*mut u8) -> ErasedFuture>,
    /// Whether neither an item nor an output can borrow anything: then a call can outlive its caller.
    pub(crate) borrows_nothing: bool,
    /// Makes what the function keeps, on the thread that calls it, if it keeps something.
    pub(crate) keep: Option<fn() -> Result<(), TaskError>>,
    /// How its calls cross a process border, if they may.
    pub(crate) remote: Option<RemoteTable>,
}

impl FunctionTable {
    pub(crate) fn is_async(&self) -> bool {
        self.is_async
    }

    /// How its calls cross a process border.
    ///
    /// # Panics
    ///
    /// If they may not: a function without a border is never sent to an engine that has one.
    pub(crate) fn remote(&self) -> &RemoteTable {
        self.remote.as_ref().expect("the pool of a function that is not `mode = \"process\"` has no processes")
    }

    /// Calls the function right here, with an item of its type. Its panic goes on.
    ///
    /// # Safety
    ///
    /// The value is an item of this function.
    pub(crate) unsafe fn call<'a>(&'static self, item: ErasedValue<'a>) -> ErasedValue<'a> {
        let run = |item: *mut u8, output: *mut u8| {
            // SAFETY: the item lies in its place and is the piece's from now on; the output is given room for.
            let mut piece = unsafe { Piece::new(self, item, output, 1) };
            piece.run();
            let _ = piece.finish();
        };
        let call = |item: *mut u8| {
            // SAFETY: a piece of one item that nothing stops has written its output when `run` returns; it is an output of the function,
            // which borrows no more than the item did.
            unsafe { ErasedValue::write(self.output, |output| run(item, output)) }
        };
        // SAFETY: the piece takes the value over.
        unsafe { item.take(call) }
    }
}

/// For what nothing stops.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What ends a map early.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stops<'s> {
    /// Nothing more is wanted.
    pub(crate) stop: &'s AtomicBool,
    /// The pool was killed.
    pub(crate) killed: &'s AtomicBool,
}

impl Stops<'_> {
    pub(crate) fn none() -> Self {
        Self { stop: &NEVER, killed: &NEVER }
    }

    #[inline(always)]
    pub(crate) fn is_on(self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.killed.load(Ordering::Relaxed)
    }
}

/// Items that are run one after the other, and how far that has come.
pub(crate) struct Run<'r> {
    /// Where the items lie, and where their outputs go.
    pub(crate) items: *mut u8,
    pub(crate) outputs: *mut u8,
    pub(crate) count: usize,
    /// Up to this item it is run now.
    pub(crate) until: usize,
    /// So many items have been moved out, and so many outputs were written.
    pub(crate) taken: usize,
    pub(crate) written: usize,
    pub(crate) stops: Stops<'r>,
    /// Told of each item that has ended.
    pub(crate) ended: Option<&'r (dyn Fn(usize) + Sync)>,
}

// SAFETY: items and outputs of every function are `Send`, and the maker of a `Run` gives both away.
unsafe impl Send for Run<'_> {}

/// Neighbouring items of a function, and room for their outputs. It owns the items that have not been run and the outputs that were
/// written.
pub(crate) struct Piece<'p> {
    table: &'static FunctionTable,
    run: Run<'p>,
}

/// Says that all outputs of a piece were written, and are their caller's.
#[must_use]
pub(crate) struct Written(());

impl<'p> Piece<'p> {
    /// # Safety
    ///
    /// `count` items of this function lie at `items`, and are the piece's from now on; there is room for so many of its outputs
    /// at `outputs`. Both stay as long as the piece.
    pub(crate) unsafe fn new(table: &'static FunctionTable, items: *mut u8, outputs: *mut u8, count: usize) -> Self {
        Self {
            table,
            run: Run { items, outputs, count, until: count, taken: 0, written: 0, stops: Stops::none(), ended: None },
        }
    }

    pub(crate) fn stopped_by(mut self, stops: Stops<'p>) -> Self {
        self.run.stops = stops;
        self
    }

    pub(crate) fn telling(mut self, ended: Option<&'p (dyn Fn(usize) + Sync)>) -> Self {
        self.run.ended = ended;
        self
    }

    pub(crate) fn table(&self) -> &'static FunctionTable {
        self.table
    }

    /// Runs what has not been run, until it is stopped. A panic of the function goes on; the piece is then behind the item that
    /// panicked.
    pub(crate) fn run(&mut self) {
        self.run_until(self.run.count);
    }

    /// Runs the next item alone.
    pub(crate) fn run_next(&mut self) {
        self.run_until(self.run.count.min(self.run.taken + 1));
    }

    fn run_until(&mut self, until: usize) {
        self.run.until = until;
        // SAFETY: the items and the room are as the table needs them, by the contract of `new`.
        unsafe { (self.table.run)(&mut self.run) };
    }

    /// The items that have not been run.
    pub(crate) fn items(&self) -> *mut u8 {
        self.run.items.wrapping_add(self.run.taken * self.table.item.size())
    }

    /// The same; null if there are none.
    pub(crate) fn item_or_null(&self) -> *mut u8 {
        if self.has_item() { self.items() } else { std::ptr::null_mut() }
    }

    /// Where the next output goes.
    pub(crate) fn output(&self) -> *mut u8 {
        self.run.outputs.wrapping_add(self.run.written * self.table.output.size())
    }

    /// So many items were taken, and so many outputs written.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.run.taken, self.run.written)
    }

    /// An output was written to the place that [`output`](Piece::output) gave.
    ///
    /// # Safety
    ///
    /// That is so, and it is an output of the function for the items of this piece.
    pub(crate) unsafe fn note_output(&mut self) {
        self.run.written += 1;
    }

    /// Whether there is an item that has neither been run nor dropped.
    pub(crate) fn has_item(&self) -> bool {
        self.run.taken < self.run.count
    }

    /// Gives the next item away: it lies at the place that this gives.
    pub(crate) fn give_item(&mut self) -> *mut u8 {
        assert!(self.run.taken < self.run.count, "an item is given away once");
        let place = self.items();
        self.run.taken += 1;
        place
    }

    /// Drops the output that was written last.
    pub(crate) fn drop_output(&mut self) {
        assert!(self.run.written > 0, "there is an output");
        self.run.written -= 1;
        let place = self.output();
        // SAFETY: it was written, and is not the piece's any more.
        unsafe { self.table.output.drop_values(place, 1) };
    }

    /// Drops the items that have not been run.
    pub(crate) fn drop_items(&mut self) {
        let (first, count) = (self.items(), self.run.count - self.run.taken);
        self.run.taken = self.run.count;
        // SAFETY: those items are the piece's, and are not touched again.
        unsafe { self.table.item.drop_values(first, count) };
    }

    /// Gives the outputs that were written to the caller, who knows where they lie: how many there are. The next output goes
    /// behind them.
    pub(crate) fn hand_over(&mut self) -> usize {
        let count = std::mem::take(&mut self.run.written);
        self.run.outputs = self.run.outputs.wrapping_add(count * self.table.output.size());
        count
    }

    /// The item that was taken last has no output: the next one goes where that of the next item belongs.
    pub(crate) fn skip_output(&mut self) {
        debug_assert_eq!(self.run.written, 0, "the outputs before it were handed over");
        self.run.outputs = self.run.outputs.wrapping_add(self.table.output.size());
    }

    /// The output of the only item was written, and is the caller's, who has given room for it.
    pub(crate) fn finish_call(self) {
        assert!(self.finish().is_some(), "an output was written");
    }

    /// The same, if all outputs were written.
    pub(crate) fn finish(mut self) -> Option<Written> {
        if self.run.written < self.run.count {
            return None;
        }
        // First what is left of the items: if a destructor panics, the outputs are still ours to drop.
        self.drop_items();
        self.hand_over();
        Some(Written(()))
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        /// Also if the destructor of an item panics.
        struct Outputs<'d>(&'d TypeTable, *mut u8, usize);
        impl Drop for Outputs<'_> {
            fn drop(&mut self) {
                // SAFETY: the outputs were written, and nothing else has them.
                unsafe { self.0.drop_values(self.1, self.2) };
            }
        }
        let _outputs = Outputs(self.table.output, self.run.outputs, self.run.written);
        self.drop_items();
    }
}
