//! How far a map has come: `f::options().progress("hashing")`. A bar on a terminal, lines elsewhere.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// What is shown: a text, and among which bars if not among ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Label {
    pub(crate) text: Option<Cow<'static, str>>,
    pub(crate) bars: Option<MultiProgress>,
}

impl Label {
    pub(crate) const NONE: Self = Self { text: None, bars: None };
}

/// Counts the items of a map that have ended, and shows them if that is wanted.
pub(crate) struct Meter(Option<Shown>);

struct Shown {
    display: Display,
    failed: Arc<AtomicU64>,
}

enum Display {
    Bar(ProgressBar),
    Lines(Lines),
}

/// All bars, one below the other.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

const WITH_TOTAL: &str = "{msg} {wide_bar} {human_pos} of {human_len}, {rate}{failed}, {eta} left";
const WITHOUT_TOTAL: &str = "{msg} {spinner} {human_pos}, {rate}{failed}, for {elapsed}";
const ENDED: &str = "{msg} {human_pos} in {elapsed}, {rate}{failed}";

/// How often it is drawn at least.
const TICK: Duration = Duration::from_millis(100);

/// When the first line comes where there is no terminal, and the longest time from one to the next. In between it doubles.
const FIRST_LINE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// So many a second.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10.0 { write!(f, "{:.1}/s", self.0) } else { write!(f, "{}/s", HumanCount(self.0 as u64)) }
    }
}

/// So many have failed, if any has.
struct Failed(u64);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ", {} failed", HumanCount(self.0)) }
    }
}

fn style(template: &str, failed: &Arc<AtomicU64>) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let failed = Arc::clone(failed);
    style
        .with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
            let _ = write!(to, "{}", Rate(state.per_sec()));
        })
        .with_key("failed", move |_: &ProgressState, to: &mut dyn Write| {
            let _ = write!(to, "{}", Failed(failed.load(Ordering::Relaxed)));
        })
}

/// Lines on standard error, where that is no terminal.
struct Lines {
    text: Cow<'static, str>,
    total: Option<u64>,
    began: Instant,
    ended: AtomicU64,
    /// When the next one comes, in milliseconds from the beginning, and how long after it the one after that.
    next: AtomicU64,
    pause: AtomicU64,
}

/// Prints a line, if standard error takes it: in one piece, since what tasks print may come between two.
fn say(line: fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl Lines {
    fn new(text: Cow<'static, str>, total: Option<u64>) -> Self {
        let first = FIRST_LINE.as_millis() as u64;
        let (next, pause) = (AtomicU64::new(first), AtomicU64::new(first));
        Self { text, total, began: Instant::now(), ended: AtomicU64::new(0), next, pause }
    }

    fn add(&self, items: u64, failed: u64) {
        let ended = self.ended.fetch_add(items, Ordering::Relaxed) + items;
        let now = self.began.elapsed();
        let (due, now_ms) = (self.next.load(Ordering::Relaxed), now.as_millis() as u64);
        if now_ms < due {
            return;
        }
        let pause = (self.pause.load(Ordering::Relaxed) * 2).min(LONGEST.as_millis() as u64);
        // One of several threads prints it.
        if self.next.compare_exchange(due, now_ms + pause, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.pause.store(pause, Ordering::Relaxed);
        let rate = ended as f64 / now.as_secs_f64();
        let (text, count, failed) = (&self.text, HumanCount(ended), Failed(failed));
        match self.total.filter(|total| *total > ended) {
            Some(total) => {
                let left = Duration::try_from_secs_f64((total - ended) as f64 / rate).unwrap_or(Duration::MAX);
                let (total, left) = (HumanCount(total), HumanDuration(left));
                say(format_args!("{text}: {count} of {total}, {}{failed}, {left:#} left", Rate(rate)));
            }
            None => say(format_args!("{text}: {count}, {}{failed}", Rate(rate))),
        }
    }

    fn finish(&self, failed: u64) {
        let (ended, took) = (self.ended.load(Ordering::Relaxed), self.began.elapsed());
        let rate = Rate(ended as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE));
        say(format_args!("{}: {} in {took:.1?}, {rate}{}", self.text, HumanCount(ended), Failed(failed)));
    }
}

impl Meter {
    /// `hint`: the size hint of the items. `function`: what is shown of a label without a text.
    pub(crate) fn new(label: &Label, function: &'static str, hint: (usize, Option<usize>)) -> Self {
        let Label { text, bars } = label;
        if text.is_none() && bars.is_none() {
            return Self(None);
        }
        let text = text.clone().unwrap_or_else(|| function.rsplit("::").next().unwrap_or(function).into());
        let total = hint.1.filter(|most| *most == hint.0).map(|total| total as u64);
        let failed = Arc::<AtomicU64>::default();
        let is_ours = bars.is_none();
        let bars = bars.as_ref().unwrap_or_else(|| BARS.get_or_init(MultiProgress::new));
        if is_ours && bars.is_hidden() {
            let display = Display::Lines(Lines::new(text, total));
            return Self(Some(Shown { display, failed }));
        }
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL };
        let bar = bars.add(bar.with_message(text).with_style(style(template, &failed)));
        bar.enable_steady_tick(TICK);
        Self(Some(Shown { display: Display::Bar(bar), failed }))
    }

    /// Whether anything is shown.
    #[inline(always)]
    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// So many more have ended.
    #[inline(always)]
    pub(crate) fn add(&self, items: usize) {
        if let Some(shown) = &self.0 {
            shown.add(items as u64);
        }
    }

    /// So many of those that have ended, or are about to be counted among them, have no result.
    #[inline(always)]
    pub(crate) fn add_failed(&self, items: usize) {
        if let Some(shown) = &self.0 {
            shown.failed.fetch_add(items as u64, Ordering::Relaxed);
        }
    }
}

impl Shown {
    #[cold]
    fn add(&self, items: u64) {
        match &self.display {
            Display::Bar(bar) => bar.inc(items),
            Display::Lines(lines) => lines.add(items, self.failed.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Shown {
    /// What there is stays on the screen.
    fn drop(&mut self) {
        match &self.display {
            Display::Bar(bar) => {
                bar.set_style(style(ENDED, &self.failed));
                bar.abandon();
            }
            Display::Lines(lines) => lines.finish(self.failed.load(Ordering::Relaxed)),
        }
    }
}

/// Prints something else to standard error, above our bars. Not for code of the user's, which may use bars of ours. Bars of the user's are not touched: this thread may
/// be inside a call of theirs that holds their lock.
pub(crate) fn above_bars(print: impl FnOnce()) {
    match BARS.get() {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}

/// Takes our bars off the terminal until they are drawn next: code of the user's is about to print.
#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) fn clear_bars() {
    if let Some(bars) = BARS.get() {
        let _ = bars.clear();
    }
}
