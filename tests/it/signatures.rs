//! Every ordinary function can be annotated: private types, functions that macros make, constants of the type, lifetimes of the block, conditions and
//! lints on parameters, another name for the attribute.

use std::borrow::Cow;

use parallel_runtime::parallel;
use parallel_runtime::parallel as par;
use serde::{Deserialize, Serialize};

/// Types that are private, in functions that are not.
mod private {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Hidden(u8);

    #[parallel(mode = "process", pool = 1)]
    #[allow(private_interfaces)]
    pub fn unwrapped(hidden: Hidden) -> u8 {
        hidden.0
    }

    #[parallel(pool = 1)]
    #[allow(private_interfaces)]
    pub fn borrowed(hidden: &Hidden) -> u8 {
        hidden.0
    }

    #[parallel]
    impl Hidden {
        #[parallel(mode = "process", pool = 1)]
        pub fn plus(&self, other: u8) -> u8 {
            self.0 + other
        }
    }

    #[test]
    fn a_public_function_may_have_a_private_type() {
        assert_eq!(unwrapped::map([Hidden(1), Hidden(2)]), [1, 2]);
        assert_eq!(unwrapped::submit(Hidden(3)).join().unwrap(), 3);
        assert_eq!(borrowed(&Hidden(4)), 4);
        assert_eq!((Hidden(1).plus(2), Hidden_plus::map([(&Hidden(1), 3)])), (3, vec![4]));
        fn sum<F: parallel_runtime::ParallelFn<Item = Hidden, Output = u8>>(items: Vec<Hidden>) -> u8 {
            parallel_runtime::Call::<F>::new().map(items).into_iter().sum()
        }
        assert_eq!(sum::<unwrapped>(vec![Hidden(5), Hidden(6)]), 11);
    }
}

macro_rules! from_item {
    ($f:item) => {
        #[parallel(mode = "process", pool = 1)]
        $f
    };
}
from_item!(
    fn of_item(x: u8) -> Vec<u8> {
        vec![x]
    }
);
from_item!(
    async fn of_async_item(x: u8) -> u8 {
        x
    }
);

macro_rules! from_tokens {
    ($($tokens:tt)*) => {
        #[parallel(mode = "process", pool = 1)]
        $($tokens)*
    };
}
from_tokens!(
    fn of_tokens(x: &[u8], y: &mut [u8]) {
        y.copy_from_slice(x);
    }
);

macro_rules! from_type {
    ($name:ident, $slice:ty, $number:ty) => {
        #[parallel(mode = "process", pool = 1)]
        fn $name(x: $slice, y: $number) -> $number {
            x.len() as $number + y
        }
    };
}
from_type!(of_type, &[u32], u16);

#[test]
fn macros_may_make_the_function() {
    assert_eq!(of_item::map([1, 2]), [[1], [2]]);
    assert_eq!(of_async_item::submit(3).join().unwrap(), 3);
    let mut copy = [0; 2];
    of_tokens(&[1, 2], &mut copy);
    assert_eq!(copy, [1, 2]);
    assert_eq!(of_type(&[1, 2], 3), 5);
    assert_eq!(of_type::submit(vec![1, 2], 4).join().unwrap(), 6);
}

#[derive(Serialize, Deserialize)]
struct Sized {
    offset: u8,
}

#[par]
impl Sized {
    const LEN: usize = 4;

    #[par(mode = "process", pool = 1)]
    fn first(&self, bytes: [u8; Self::LEN]) -> u8 {
        bytes[0] + self.offset
    }

    #[par(pool = 1)]
    fn without_a_receiver(offset: u8) -> Self {
        Self { offset }
    }
}

#[test]
fn an_impl_block_may_use_its_constants_and_another_name_of_the_attribute() {
    assert_eq!(Sized::without_a_receiver(1).first([1, 2, 3, 4]), 2);
    assert_eq!(Sized::first_call().map([(&Sized { offset: 2 }, [5; Sized::LEN])]), [7]);
}

#[derive(Serialize, Deserialize)]
struct Text<'a>(Cow<'a, str>);

#[parallel]
impl<'a> Text<'a> {
    #[parallel(mode = "process", pool = 1)]
    fn longer_than(&self, len: usize) -> bool {
        self.0.len() > len
    }
}

#[test]
fn an_impl_block_may_have_lifetimes() {
    let owned = "abc".to_owned();
    let text = Text(Cow::Borrowed(&owned));
    assert!(text.longer_than(2) && !text.longer_than(3));
    assert_eq!(Text::longer_than_call().map([(&text, 1), (&text, 5)]), [true, false]);
}

#[parallel(mode = "process", pool = 1)]
fn conditional(#[cfg(any())] left_out: u8, #[cfg(not(any()))] there: u8, #[allow(unused_variables)] unused: u8) -> u8 {
    there
}

#[parallel]
impl Sized {
    #[parallel(pool = 1)]
    fn conditional(&self, #[cfg(any())] left_out: u8, #[cfg(not(any()))] there: u8) -> u8 {
        there + self.offset
    }
}

#[test]
fn parameters_may_have_conditions_and_lints() {
    assert_eq!(conditional(1, 2), 1);
    assert_eq!(conditional::map([(3, 4)]), [3]);
    assert_eq!(Sized { offset: 1 }.conditional(2), 3);
}

/// Its names are those that the expansion would take for itself, if they were free.
#[parallel(mode = "process", pool = 1)]
fn taken<'data, 'scope>(data: &'data [u32], other: &[u32], scope: &'scope str, pool: &str, item: u8) -> usize {
    'other: for _ in 0..2 {
        for value in other {
            if *value == 0 {
                break 'other;
            }
        }
    }
    data.len() + other.len() + scope.len() + pool.len() + usize::from(item)
}

struct Named<'this>(&'this str);

#[parallel]
impl<'this> Named<'this> {
    #[parallel(pool = 1)]
    fn join(&self, this: &str, r#type: &str) -> String {
        format!("{}{this}{}", self.0, r#type)
    }
}

#[test]
fn names_of_parameters_lifetimes_and_labels_are_the_functions_own() {
    assert_eq!(taken(&[1, 2], &[0], "abc", "d", 1), 8);
    assert_eq!(taken::map([(&[1][..], &[][..], "", "", 0)]), [1]);
    assert_eq!(parallel_runtime::scope(|s| taken::scoped(s, &[1], &[2], "", "", 0).join().unwrap()), 2);
    assert_eq!(Named("a").join("b", "c"), "abc");
    assert_eq!(Named::join_call().map([(&Named("a"), "b", "c")]), ["abc"]);
}
