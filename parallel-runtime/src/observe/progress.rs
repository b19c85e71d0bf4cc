//! A bar that shows how far a map has come: `f::options().progress("hashing")`.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// What a bar is called.
pub(crate) type Label = Option<Cow<'static, str>>;

/// Counts the items of a map that have ended, and shows them if that is wanted.
pub(crate) struct Meter(Option<ProgressBar>);

/// All bars, one below the other.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

const WITH_TOTAL: &str = "{msg} {wide_bar} {human_pos} of {human_len}, {rate}, {eta} left";
const WITHOUT_TOTAL: &str = "{msg} {spinner} {human_pos}, {rate}, for {elapsed}";
const ENDED: &str = "{msg} {human_pos} in {elapsed}, {rate}";

/// How often it is drawn, whatever happens.
const TICK: Duration = Duration::from_millis(100);

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
        let rate = state.per_sec();
        let _ = if rate < 10.0 { write!(to, "{rate:.1}/s") } else { write!(to, "{}/s", HumanCount(rate as u64)) };
    })
}

impl Meter {
    /// `hint`: the size hint of the items. Nothing is shown where standard error is no terminal.
    pub(crate) fn new(label: &Label, hint: (usize, Option<usize>)) -> Self {
        let Some(label) = label.clone() else { return Self(None) };
        let total = hint.1.filter(|most| *most == hint.0);
        let bar = total.map_or_else(ProgressBar::no_length, |total| ProgressBar::new(total as u64));
        let bar = bar.with_message(label).with_style(style(if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL }));
        let bar = BARS.get_or_init(MultiProgress::new).add(bar);
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    /// So many more have ended.
    #[inline(always)]
    /// Whether there is a bar.
    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

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
            bar.set_style(style(ENDED));
            bar.abandon();
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
