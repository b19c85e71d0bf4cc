use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Counts its ends.
struct Counted(Arc<AtomicUsize>, #[expect(dead_code, reason = "it makes the value large")] [u64; 5]);
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[repr(align(64))]
#[derive(Debug, PartialEq)]
struct Aligned(u8);

#[repr(align(64))]
#[derive(Debug, PartialEq)]
struct AlignedNothing;

#[test]
fn a_value_comes_out_as_it_went_in_whatever_its_size_and_alignment() {
    fn through<T: Send>(value: T) -> T {
        // SAFETY: it is taken out as what it was put in.
        unsafe { ErasedValue::new(value).into() }
    }
    through(());
    assert_eq!(through(7_u8), 7);
    assert_eq!(through("text".to_owned()), "text");
    assert_eq!(through([1_u64; 4]), [1; 4]);
    assert_eq!(through(Aligned(9)), Aligned(9));
    assert_eq!(through(AlignedNothing), AlignedNothing);
    assert_eq!(ErasedValue::new(AlignedNothing).place().addr() % 64, 0);
}

#[test]
fn every_value_is_dropped_once() {
    let ends = Arc::new(AtomicUsize::new(0));
    let value = || Counted(Arc::clone(&ends), [0; 5]);
    drop(ErasedValue::new(value()));
    assert_eq!(ends.load(Ordering::Relaxed), 1);
    let mut values = ErasedVec::new(TypeOf::<Counted>::table());
    for _ in 0..10 {
        // SAFETY: the vector is one of these.
        unsafe { values.push(value()) };
    }
    let rest = values.split_off(6);
    drop(values);
    assert_eq!(ends.load(Ordering::Relaxed), 7);
    let mut each = rest.into_each();
    drop(each.next());
    drop(each);
    assert_eq!(ends.load(Ordering::Relaxed), 11);
}

#[test]
fn a_vector_becomes_the_standard_librarys() {
    let mut items = ItemsOf::new((0..100).map(|number| number.to_string()));
    // SAFETY: these are strings.
    let strings = unsafe { all_of(&mut items).into_vec::<String>() };
    assert_eq!(strings[99], "99");
    let mut items = ItemsOf::new(std::iter::repeat_n((), 3));
    // SAFETY: these are units.
    assert_eq!(unsafe { all_of(&mut items).into_vec::<()>() }.len(), 3);
    let mut items = ItemsOf::new(std::iter::empty::<u64>());
    // SAFETY: these would be numbers.
    assert!(unsafe { all_of(&mut items).into_vec::<u64>() }.is_empty());
}

#[test]
fn what_a_source_has_given_before_it_panicked_is_still_there() {
    let mut items = ItemsOf::new((0..10_u32).inspect(|number| assert!(*number < 7)));
    let pull = std::panic::AssertUnwindSafe(|| items.pull(100, 16, &mut |_| true));
    assert!(std::panic::catch_unwind(pull).is_err());
    assert_eq!(items.take_pulled().len(), 7);
}
