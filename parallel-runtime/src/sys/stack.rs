//! How deep a thread may recurse.

use std::cell::Cell;

use super::system::stack_bounds;

/// Left for what is called between two looks, and for destructors.
const RESERVE: usize = 128 << 10;

/// What may be used of a stack of which nothing is known: that of a coroutine.
const UNKNOWN: usize = 64 << 10;

/// The lowest address of a thread's stack that may be used, and its end. Looked up once for each thread.
#[derive(Clone, Copy)]
struct Stack {
    floor: usize,
    end: usize,
}

/// About where the stack ends now.
#[inline(always)]
pub(crate) fn pointer() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

/// The address below which code that recurses as deep as its data is nested must not go on this thread, now.
#[inline]
pub(crate) fn floor() -> usize {
    if cfg!(miri) {
        // Addresses say nothing there.
        return 0;
    }
    thread_local!(static STACK: Cell<Option<Stack>> = const { Cell::new(None) });
    // A destructor of another thread-local may ask when this one is gone.
    let known = STACK.try_with(Cell::get).ok().flatten();
    let stack = known.unwrap_or_else(|| {
        let stack = look_up();
        let _ = STACK.try_with(|known| known.set(Some(stack)));
        stack
    });
    let now = pointer();
    if (stack.floor..stack.end).contains(&now) { stack.floor } else { now.saturating_sub(UNKNOWN) }
}

#[cold]
fn look_up() -> Stack {
    let Some(bounds) = stack_bounds::of_this_thread() else { return Stack { floor: 0, end: 0 } };
    // A C library may count the guard as part of the stack.
    let reserve = (RESERVE + bounds.guard).min((bounds.end - bounds.lowest) / 2);
    Stack { floor: bounds.lowest + reserve, end: bounds.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "a stack has no addresses there")]
    fn the_floor_lies_in_the_stack_below_what_is_used() {
        let maps = |address: usize| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let bounds = maps.lines().filter_map(|line| line.split_once(' ')?.0.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            let mut bounds = bounds.map(|(start, end)| number(start)..number(end));
            bounds.find(|bounds| bounds.contains(&address)).unwrap()
        };
        let look = move || {
            let (floor, now) = (floor(), pointer());
            assert!(floor < now && maps(floor) == maps(now), "{floor:#x} {now:#x}");
        };
        for size in [64 << 10, 1 << 20] {
            std::thread::Builder::new().stack_size(size).spawn(look).unwrap().join().unwrap();
        }
    }
}
