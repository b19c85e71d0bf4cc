//! Without the feature `progress` there is no way to ask for a bar.

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Label;

impl Label {
    pub(crate) const NONE: Self = Self;
}

pub(crate) struct Meter(());

impl Meter {
    #[inline(always)]
    pub(crate) fn new(_: &Label, _: &'static str, _: (usize, Option<usize>)) -> Self {
        Self(())
    }

    #[inline(always)]
    pub(crate) fn is_shown(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn add(&self, _: usize) {}

    #[inline(always)]
    pub(crate) fn add_failed(&self, _: usize) {}
}

#[cfg(any(feature = "tracing", feature = "log"))]
#[inline(always)]
pub(crate) fn clear_bars() {}

#[inline(always)]
pub(crate) fn above_bars(print: impl FnOnce()) {
    print();
}
