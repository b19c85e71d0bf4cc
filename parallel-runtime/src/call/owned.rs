//! The verbs that do not wait, or not for all: they take owned arguments.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Call, NOT_REMOTE, Route, repeated};
use crate::error::TaskError;
use crate::function::{IntoOwned, OwnedFn, Remote};
use crate::observe::progress::Meter;
use crate::options::CallOptions;
use crate::panics;
use crate::pool::Target;
use crate::remote::carrier::Carrier;
use crate::remote::map::{Control, Place, map, submit};
use crate::remote::ticket::Outcome;
use crate::task::stream::{Ahead, run_here};
use crate::task::{Imap, ImapUnordered, InProcess, MapTask, Spawned, Task, TaskStream};
use crate::thread::Failed;
use crate::{process, remote, thread};

impl<F: OwnedFn> Call<'_, F> {
    /// Hands one item to the pool and returns at once.
    ///
    /// References are passed in their owned form: `String` for `&str`, `Vec<T>` for `&[T]`.
    pub fn submit<A>(&self, item: A) -> Task<F::Output>
    where
        A: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.submit_owned(item.into_owned())
    }

    #[doc(hidden)]
    pub fn submit_owned(&self, item: F::Owned) -> Task<F::Output> {
        let name = F::spec().name;
        match self.route() {
            Err(error) => Task::ready(Err(error)),
            Ok(Route::Here) => Task::ready(run_here::<F>(item)),
            Ok(Route::Thread(engine)) => {
                let limit = self.options(engine.defaults).timeout;
                match engine.submit(name, limit, false, F::body(item)) {
                    Ok(job) => Task::on_thread(job),
                    Err(error) => Task::ready(Err(error)),
                }
            }
            Ok(Route::Remote(carrier)) => submit_owned::<F>(carrier, item, self.options(carrier.defaults())),
        }
    }

    /// Runs all items in the background and returns at once.
    pub fn map_async<I>(&self, items: I) -> MapTask<F::Output>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        let items: Vec<F::Owned> = items.into_iter().map(IntoOwned::into_owned).collect();
        let (total, own, target) = (items.len(), self.options, self.target().clone());
        let meter = Meter::new(&self.label, (total, Some(total)));
        // A pool that is shut down from here on still runs all of them.
        let admitted = self.route().and_then(|route| match route {
            Route::Remote(carrier) => carrier.admit(false).map(|admission| (Some(admission), None)),
            Route::Thread(engine) => engine.accept().map(|accepted| (None, Some(accepted))),
            Route::Here => Ok((None, None)),
        });
        MapTask::start(F::spec().name, total, &target.clone(), move |shared| {
            let _admitted = admitted?;
            let run = |item| {
                let output = F::run_owned(item);
                shared.done.fetch_add(1, Ordering::Relaxed);
                meter.add(1);
                output
            };
            let mapped = match &target {
                Target::Here => Ok(thread::in_place(items, &shared.stop, &run)),
                Target::Thread(engine) => {
                    let options = own.or(engine.defaults);
                    if options.timeout.is_some() || F::IS_ASYNC {
                        return thread::submit_all(
                            engine,
                            F::spec().name,
                            items,
                            options.timeout,
                            F::body,
                            (shared, &meter),
                        );
                    }
                    engine.map(F::spec().name, items, options.chunk.unwrap_or(1), &shared.stop, (true, true), &run)
                }
                Target::Remote(carrier) => {
                    let mut results = Vec::with_capacity(total);
                    let stop = || shared.stop.load(Ordering::Relaxed);
                    let options = own.or(carrier.defaults());
                    let (stop, done, meter) = (Some(&stop as &dyn Fn() -> bool), Some(&shared.done), Some(&meter));
                    let control = Control { options, stop, done, meter, admitted: true };
                    let target = Place::Values(&mut results);
                    return map(carrier, &remote_owned::<F>(), items.into_iter(), &control, target).map(|()| results);
                }
            };
            mapped?.map_err(|failed| match failed {
                Failed::Panicked(caught) => caught.into_error(F::spec().name),
                Failed::Stopped => TaskError::Cancelled,
                Failed::Unprepared(error) => error,
            })
        })
    }

    /// [`map_async`](Call::map_async) under Python's name for functions of several parameters.
    pub fn starmap_async<I>(&self, items: I) -> MapTask<F::Output>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.map_async(items)
    }

    /// Gives each item's result or error, in the order of the items, as they come: Python's `Pool.imap`.
    ///
    /// It is lazy. Items are taken from `items` a little ahead of the results that are taken, and no more: so `items` may have no end, and
    /// memory does not grow. When the iterator is dropped, what has not started is cancelled.
    ///
    /// ```
    /// use parallel_runtime::parallel;
    ///
    /// #[parallel(mode = "process", pool = 2)]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let large = square::imap(0..).map(Result::unwrap).find(|square| *square > 1000);
    /// assert_eq!(large, Some(1024));
    /// ```
    pub fn imap<I>(&self, items: I) -> Imap<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        let items = items.into_iter();
        let meter = Meter::new(&self.label, items.size_hint());
        let ahead = self.ahead(items.size_hint(), true);
        Imap::new(items, ahead, meter)
    }

    /// As [`imap`](Call::imap), but each result comes as soon as it is there, with the number of its item: Python's
    /// `Pool.imap_unordered`.
    pub fn imap_unordered<I>(&self, items: I) -> ImapUnordered<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        let items = items.into_iter();
        let meter = Meter::new(&self.label, items.size_hint());
        let ahead = self.ahead(items.size_hint(), false);
        ImapUnordered::new(items, ahead, meter)
    }

    /// As [`imap`](Call::imap), as a [`Stream`](futures_core::Stream), for any executor.
    pub fn stream<I>(&self, items: I) -> TaskStream<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        let items = items.into_iter();
        let meter = Meter::new(&self.label, items.size_hint());
        let ahead = self.ahead(items.size_hint(), true);
        TaskStream::new(items, ahead, meter)
    }

    fn ahead(&self, hint: (usize, Option<usize>), ordered: bool) -> Ahead<F::Owned, F::Output> {
        let made = self.route().and_then(|route| match route {
            Route::Here => Ok(Ahead::Here(run_here::<F>)),
            Route::Thread(engine) => {
                let options = self.options(engine.defaults);
                Ok(Ahead::Thread(thread::ahead::Ahead::new::<F>(engine, options, hint, ordered)))
            }
            Route::Remote(carrier) => {
                let options = self.options(carrier.defaults());
                remote::ahead::Ahead::new(carrier, remote_owned::<F>(), options, hint, ordered).map(Ahead::Remote)
            }
        });
        made.unwrap_or_else(|error| Ahead::Nowhere(Box::new(repeated(error))))
    }

    /// Runs one item on a thread or in a process of its own, outside every pool.
    pub fn spawn<A>(&self, item: A) -> Spawned<F::Output>
    where
        A: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.spawn_owned(item.into_owned())
    }

    #[doc(hidden)]
    pub fn spawn_owned(&self, item: F::Owned) -> Spawned<F::Output> {
        let name = F::spec().name;
        match self.route() {
            Err(error) => Spawned::on_thread(Task::ready(Err(error))),
            Ok(Route::Here) => Spawned::on_thread(Task::ready(run_here::<F>(item))),
            Ok(Route::Thread(engine)) => {
                let limit = self.options(engine.defaults).timeout;
                let init = F::spec().worker_options().init;
                let job = Arc::new(thread::Job::new(name, F::body(item), limit, None));
                let theirs = Arc::clone(&job);
                let short_name = name.rsplit("::").next().unwrap_or(name);
                let thread = std::thread::Builder::new().name(short_name.to_owned()).spawn(move || {
                    match init.map_or(Ok(()), panics::catch) {
                        Ok(()) => theirs.run_on_pool(),
                        Err(caught) => theirs.fail(caught.into_init_error()),
                    }
                });
                Spawned::on_thread(match thread {
                    Ok(_) => Task::on_thread(job),
                    Err(error) => Task::ready(Err(TaskError::Spawn(error))),
                })
            }
            Ok(Route::Remote(Carrier::Process(pool))) => {
                let engine = process::Engine::one_shot(pool.worker_options());
                let carrier = Carrier::Process(Arc::clone(&engine));
                let task = submit_owned::<F>(&carrier, item, self.options(pool.defaults));
                Spawned::in_process(task, engine)
            }
            // Each task has a process to itself there, as long as it runs.
            #[cfg(feature = "dask")]
            Ok(Route::Remote(carrier)) => {
                Spawned::on_cluster(submit_owned::<F>(carrier, item, self.options(carrier.defaults())))
            }
        }
    }
}

fn submit_owned<F: OwnedFn>(carrier: &Carrier, item: F::Owned, options: CallOptions) -> Task<F::Output> {
    let remote = remote_owned::<F>();
    match submit(carrier, &remote, item, options) {
        Ok(ticket) => Task::in_process(InProcess { carrier: carrier.clone(), ticket, read: read_owned::<F> }),
        Err(error) => Task::ready(Err(error)),
    }
}

/// Reads the result of a task that was submitted with owned arguments, which are gone.
fn read_owned<F: OwnedFn>(outcome: Outcome) -> Result<F::Output, TaskError> {
    remote::map::output(&remote_owned::<F>(), outcome)
}

fn remote_owned<F: OwnedFn>() -> Remote<F::Owned, F::Output> {
    F::remote_owned().expect(NOT_REMOTE)
}
