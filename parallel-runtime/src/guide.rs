#![doc = include_str!("../guide/links.txt")]
#![doc = include_str!("../guide/introduction.md")]

// Each page is a module, and its code a test. In the book a page leads to others by the definitions at its end; here those of `links.txt` come first.
macro_rules! pages {
    ($($(#[$attribute:meta])* $name:ident: $page:literal,)*) => {
        $(
            #[doc = include_str!("../guide/links.txt")]
            #[doc = include_str!("../guide/pictures.txt")]
            #[doc = include_str!(concat!("../guide/", $page))]
            $(#[$attribute])*
            pub mod $name {}
        )*
    };
}

pages! {
    getting_started: "getting-started.md",
    from_python: "from-python.md",
    choosing: "choosing.md",
    values: "values.md",
    shared_memory: "shared-memory.md",
    // As above.
    #[cfg(any(all(feature = "ndarray", feature = "arrow"), not(doctest)))]
    arrays: "arrays.md",
    state: "state.md",
    faults: "faults.md",
    replay: "replay.md",
    security: "security.md",
    asynchronous: "async.md",
    // Its code needs the feature.
    #[cfg(any(feature = "dask", not(doctest)))]
    cluster: "cluster.md",
    real_libraries: "real-libraries.md",
    // As above.
    #[cfg(any(all(feature = "progress", feature = "log"), not(doctest)))]
    observing: "observing.md",
    performance: "performance.md",
    internals: "internals.md",
    platforms: "platforms.md",
    questions: "faq.md",
}
