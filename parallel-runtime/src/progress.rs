//! A bar that shows how far a map has come: `f::options().progress("hashing")`.

use std::borrow::Cow;
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};

/// What a bar is called.
pub(crate) type Label = Option<Cow<'static, str>>;

/// Counts the items of a map that have ended, and shows them if that is wanted.
pub(crate) struct Meter(Option<ProgressBar>);

/// All bars, one below the other.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

const WITH_TOTAL: &str = "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left";
const WITHOUT_TOTAL: &str = "{msg} {spinner} {human_pos}, {per_sec}, for {elapsed}";

impl Meter {
    /// `hint`: the size hint of the items. Nothing is shown where standard error is no terminal.
    pub(crate) fn new(label: &Label, hint: (usize, Option<usize>)) -> Self {
        let Some(label) = label.clone() else { return Self(None) };
        let total = hint.1.filter(|most| *most == hint.0);
        let bar = total.map_or_else(ProgressBar::no_length, |total| ProgressBar::new(total as u64));
        let bar = bar.with_message(label).with_finish(ProgressFinish::Abandon);
        let style = ProgressStyle::with_template(if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL });
        Self(Some(BARS.get_or_init(MultiProgress::new).add(style.map_or(bar.clone(), |style| bar.with_style(style)))))
    }

    /// So many more have ended.
    #[inline(always)]
    pub(crate) fn add(&self, items: usize) {
        if let Some(bar) = &self.0 {
            bar.inc(items as u64);
        }
    }
}

impl Drop for Meter {
    /// What there is stays on the screen.
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_using_style();
        }
    }
}

/// Prints something else to standard error, above the bars.
pub(crate) fn above_bars(print: impl FnOnce()) {
    match BARS.get() {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}
