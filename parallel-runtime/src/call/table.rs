//! The tables of annotated functions: what is compiled for each of them, and nothing else is.

use std::marker::PhantomData;

use super::function::{Detached, OwnedFn, ParallelFn, ProcessFn, ProcessOwnedFn, Remote, RemoteOwned};
use crate::codec::{CodecError, Reader, Writer};
use crate::function::code;
use crate::function::erased::{ErasedValue, TypeOf, TypeTable};
use crate::function::pass_mode::Returned;
use crate::function::remote::{Received, RemoteTable, header};
use crate::function::table::{ErasedFuture, FunctionTable, Run};
use crate::function::{ResultWriter, ServeError};
use crate::panics;

/// The tables of `F`.
pub(super) struct Tables<F>(F);

impl<F: ParallelFn> Tables<F> {
    const BORROWED: FunctionTable = FunctionTable {
        name: F::NAME,
        item: TypeOf::<F::Item>::table(),
        output: TypeOf::<F::Output>::table(),
        run: run::<F>,
        is_async: F::IS_ASYNC,
        future: match &F::DETACHED {
            Some(detached) => detached.future,
            None => None,
        },
        borrows_nothing: F::DETACHED.is_some(),
        keep: F::KEEP,
        remote: match &F::REMOTE {
            Some(remote) => Some(remote.table),
            None => None,
        },
    };

    /// With the arguments as they are: an item is an `F::Item`.
    pub(super) const fn borrowed() -> &'static FunctionTable {
        &Self::BORROWED
    }
}

impl<F: OwnedFn> Tables<F> {
    const OWNED: FunctionTable = FunctionTable {
        name: F::NAME,
        item: TypeOf::<F::Owned>::table(),
        output: TypeOf::<F::Output>::table(),
        run: run_owned::<F>,
        is_async: F::IS_ASYNC,
        future: if F::IS_ASYNC { Some(future::<F>) } else { None },
        borrows_nothing: true,
        keep: F::KEEP,
        remote: match &F::REMOTE_OWNED {
            Some(remote) => Some(remote.table),
            None => None,
        },
    };

    /// With owned arguments: an item is an `F::Owned`.
    pub(super) const fn owned() -> &'static FunctionTable {
        &Self::OWNED
    }
}

impl<F: ParallelFn<Item: 'static, Output: 'static>> Detached<F> {
    /// Of an ordinary function.
    pub const fn call() -> Self {
        Self { future: None, _function: PhantomData }
    }

    /// Of an `async fn`, whose items are what their owned form is.
    pub const fn future() -> Self
    where
        F: OwnedFn<Owned = <F as ParallelFn>::Item>,
    {
        Self { future: Some(future::<F>), _function: PhantomData }
    }
}

impl<F: ProcessFn> Remote<F> {
    /// With the arguments as they are.
    #[expect(clippy::new_without_default, reason = "only generated code makes one")]
    pub const fn new() -> Self {
        Self { table: remote::<F>(), _function: PhantomData }
    }
}

impl<F: ProcessOwnedFn> RemoteOwned<F> {
    /// With owned arguments.
    #[expect(clippy::new_without_default, reason = "only generated code makes one")]
    pub const fn new() -> Self {
        Self { table: remote_owned::<F>(), _function: PhantomData }
    }
}

/// # Safety
///
/// As [`Run`] says: the items are of type `I`, and there is room for outputs of type `R`.
#[inline(always)]
unsafe fn run_each<I, R>(run: &mut Run<'_>, call: impl Fn(I) -> R) {
    while run.taken < run.until && !run.stops.is_on() {
        // SAFETY: `taken` is less than `until`, which is at most `count`, and so many items lie there.
        let place = unsafe { run.items.cast::<I>().add(run.taken) };
        // SAFETY: it has not been taken yet; from here on it is this call's.
        let item = unsafe { place.read() };
        run.taken += 1;
        let output = call(item);
        // SAFETY: there is room for `count` outputs, and `written` is less than `taken`.
        let place = unsafe { run.outputs.cast::<R>().add(run.written) };
        // SAFETY: as above.
        unsafe { place.write(output) };
        run.written += 1;
        if let Some(ended) = run.ended {
            ended(1);
        }
    }
}

/// # Safety
///
/// As [`Run`] says, for the items of `F`.
unsafe fn run<F: ParallelFn>(run: &mut Run<'_>) {
    // SAFETY: as the caller promises.
    unsafe { run_each(run, F::run) };
}

/// # Safety
///
/// As [`Run`] says, for the owned items of `F`.
unsafe fn run_owned<F: OwnedFn>(run: &mut Run<'_>) {
    // SAFETY: as the caller promises.
    unsafe { run_each(run, F::run_owned) };
}

/// # Safety
///
/// There is an owned item of `F` at `item`, which is this call's from now on.
unsafe fn future<F: OwnedFn>(item: *mut u8) -> ErasedFuture {
    // SAFETY: as the caller promises.
    let item = unsafe { item.cast::<F::Owned>().read() };
    Box::pin(async move { ErasedValue::new(F::future(item).await) })
}

const fn remote<F: ProcessFn>() -> RemoteTable {
    let receive = if F::TAKES_BACK { receive::<F> } else { receive_outputs::<F> };
    RemoteTable { serve: serve::<F>, send: send::<F>, receive, takes_back: F::TAKES_BACK }
}

const fn remote_owned<F: ProcessOwnedFn>() -> RemoteTable {
    // What was changed in arguments that their caller has given away is of no use.
    RemoteTable { serve: serve::<F>, send: send_owned::<F>, receive: receive_outputs::<F>, takes_back: false }
}

fn serve<F: ProcessFn>(reader: &mut Reader<'_>, results: &mut ResultWriter<'_>, items: u32) -> Result<(), ServeError> {
    // Before the time of the first item begins.
    if let Some(Err(error)) = F::KEEP.map(|keep| keep()) {
        results.begin();
        panics::end_task(error);
    }
    for _ in 0..items {
        results.begin();
        F::serve(reader, results)?;
        if results.is_full() {
            break;
        }
    }
    Ok(())
}

/// # Safety
///
/// `count` items of `F` lie at `items`.
unsafe fn send<F: ProcessFn>(items: *const u8, count: usize, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    // SAFETY: as the caller promises.
    let items = unsafe { std::slice::from_raw_parts(items.cast::<F::Item>(), count) };
    items.iter().try_for_each(|item| F::send(item, writer))
}

/// # Safety
///
/// `count` owned items of `F` lie at `items`.
unsafe fn send_owned<F: ProcessOwnedFn>(
    items: *const u8,
    count: usize,
    writer: &mut Writer<'_>,
) -> Result<(), CodecError> {
    // SAFETY: as the caller promises.
    let items = unsafe { std::slice::from_raw_parts(items.cast::<F::Owned>(), count) };
    // The thread that sends them lets go of them afterwards.
    writer.keeps_slices = true;
    items.iter().try_for_each(|item| F::send_owned(item, writer))
}

/// # Safety
///
/// There is room for `count` outputs of `F` at `values`. `items` is null, or `count` items of `F` lie there.
unsafe fn receive<F: ProcessFn>(
    returned: &mut Returned<'_>,
    items: *mut u8,
    count: usize,
    values: *mut u8,
) -> (usize, Received) {
    if items.is_null() {
        // SAFETY: as the caller promises.
        return unsafe { receive_outputs::<F>(returned, items, count, values) };
    }
    let take_back = |at: usize, returned: &mut Returned<'_>| {
        // SAFETY: `at` is less than `count`, and so many items lie there.
        let item = unsafe { items.cast::<F::Item>().add(at) };
        // SAFETY: as above; nothing else uses them meanwhile.
        F::take_back(unsafe { &mut *item }, returned)
    };
    // SAFETY: as the caller promises.
    unsafe { receive_each::<F>(returned, count, values, take_back) }
}

/// # Safety
///
/// There is room for `count` outputs of `F` at `values`.
unsafe fn receive_outputs<F: ProcessFn>(
    returned: &mut Returned<'_>,
    _items: *mut u8,
    count: usize,
    values: *mut u8,
) -> (usize, Received) {
    // SAFETY: as the caller promises.
    unsafe { receive_each::<F>(returned, count, values, |_, _| Ok(())) }
}

/// # Safety
///
/// There is room for `count` outputs of `F` at `values`.
#[inline(always)]
unsafe fn receive_each<F: ProcessFn>(
    returned: &mut Returned<'_>,
    count: usize,
    values: *mut u8,
    take_back: impl Fn(usize, &mut Returned<'_>) -> Result<(), CodecError>,
) -> (usize, Received) {
    let mut received_values = Unfinished { table: TypeOf::<F::Output>::table(), start: values, count: 0 };
    let failed = loop {
        let at = received_values.count;
        if at == count {
            break Received::All;
        }
        let end = match header(&mut returned.results) {
            Ok((code::VALUE, end)) => end,
            Ok((other, end)) => break Received::Code(other, end),
            Err(error) => break Received::Failed(error),
        };
        let received = F::receive(returned).and_then(|value| take_back(at, returned).map(|()| value));
        returned.results.go_to(end);
        let value = match received {
            Ok(value) => value,
            Err(error) => break Received::Failed(error),
        };
        // SAFETY: there is room for `count` outputs, of which this is one.
        let place = unsafe { values.cast::<F::Output>().add(at) };
        // SAFETY: as above.
        unsafe { place.write(value) };
        received_values.count += 1;
    };
    let received = received_values.count;
    std::mem::forget(received_values);
    (received, failed)
}

/// Outputs that were received so far: dropped if a `Deserialize` of the user's panics, or a destructor.
struct Unfinished {
    table: &'static TypeTable,
    start: *mut u8,
    count: usize,
}

impl Drop for Unfinished {
    #[cold]
    fn drop(&mut self) {
        // SAFETY: so many outputs were written there, and nothing else has them.
        unsafe { self.table.drop_values(self.start, self.count) };
    }
}
