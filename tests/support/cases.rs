//! From a table of behaviours to tests.

/// A test for each function of a table, in a module, on a pool: `cases!(threads, TestPool::threads(2), [attributes] one other)`.
macro_rules! cases {
    ($module:ident, $pool:expr, $attributes:tt $($name:ident)*) => {
        mod $module {
            use super::*;

            static POOL: TestPool = $pool;

            $(case!($attributes $name);)*
        }
    };
}

macro_rules! case {
    ([$($attribute:tt)*] $name:ident) => {
        #[test]
        $($attribute)*
        fn $name() {
            table::$name(&POOL);
        }
    };
}
