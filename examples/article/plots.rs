//! `--plots DIR`: the measurements as pictures, each as SVG and as PNG.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use parallel_runtime::{ProcessPool, ThreadPool, parallel};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::table::{size, timed};
use crate::{Scale, sharing, starting};

type Failed = Box<dyn Error>;

/// Width and height of a picture; a PNG has twice as many pixels each way.
const SIZE: (u32, u32) = (900, 480);

/// By Okabe and Ito (2008): told apart also by those who see no red or green.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Lines under a title, with a name for each, and axes with units.
struct Picture<'p> {
    title: &'p str,
    x: Axis<'p>,
    y: Axis<'p>,
    lines: Vec<Line>,
    /// What the lines are to be compared with, in grey.
    ideal: Option<Line>,
}

struct Axis<'p> {
    name: &'p str,
    from: f64,
    to: f64,
    logarithmic: bool,
    /// At most so many.
    ticks: usize,
    label: fn(&f64) -> String,
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// Whether each point is to be seen.
    dots: bool,
    /// A point that is marked.
    mark: Option<(f64, f64)>,
}

impl Picture<'_> {
    /// Writes `NAME.svg` and `NAME.png`.
    fn write(&self, directory: &Path, name: &str) -> Result<(), Failed> {
        let svg = directory.join(name).with_extension("svg");
        self.draw(&SVGBackend::new(&svg, SIZE).into_drawing_area(), 1)?;
        let png = directory.join(name).with_extension("png");
        self.draw(&BitMapBackend::new(&png, (2 * SIZE.0, 2 * SIZE.1)).into_drawing_area(), 2)?;
        println!("{}, {}", svg.display(), png.display());
        Ok(())
    }

    fn draw<B: DrawingBackend<ErrorType: 'static>>(
        &self,
        area: &DrawingArea<B, Shift>,
        zoom: u32,
    ) -> Result<(), Failed> {
        area.fill(&WHITE)?;
        let lines = || self.ideal.iter().map(|line| (GREY, line)).chain(COLOURS.into_iter().zip(&self.lines));
        let z = zoom.cast_signed();
        area.draw(&Text::new(self.title, (20 * z, 14 * z), font(20, zoom)))?;
        // The names stand above the axes, where they cover nothing.
        for (index, (colour, line)) in (0..).zip(lines()) {
            let y = (44 + 20 * index) * z;
            area.draw(&Rectangle::new([(20 * z, y + 5 * z), (48 * z, y + 8 * z)], colour.filled()))?;
            area.draw(&Text::new(line.name.as_str(), (56 * z, y), font(15, zoom)))?;
        }
        let names = u32::try_from(lines().count())?;
        let (_, chart) = area.split_vertically((50 + 20 * names) * zoom);
        let mut builder = ChartBuilder::on(&chart);
        builder.margin(12 * zoom).margin_right(40 * zoom).x_label_area_size(46 * zoom).y_label_area_size(70 * zoom);
        let (x, y) = (self.x.from..self.x.to, self.y.from..self.y.to);
        macro_rules! chart {
            ($x:expr) => {{
                let mut chart = builder.build_cartesian_2d($x, y)?;
                let (x_label, y_label) = (&|value: &f64| (self.x.label)(value), &|value: &f64| (self.y.label)(value));
                let mut mesh = chart.configure_mesh();
                mesh.x_desc(self.x.name)
                    .y_desc(self.y.name)
                    .axis_desc_style(font(15, zoom))
                    .label_style(font(14, zoom));
                mesh.light_line_style(TRANSPARENT)
                    .bold_line_style(GREY.mix(0.3))
                    .x_labels(self.x.ticks)
                    .y_labels(self.y.ticks);
                mesh.x_label_formatter(x_label).y_label_formatter(y_label).draw()?;
                for (colour, line) in lines() {
                    chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2 * zoom)))?;
                    if line.dots {
                        let dot = |point: &(f64, f64)| Circle::new(*point, 4 * z, colour.filled());
                        chart.draw_series(line.points.iter().map(dot))?;
                    }
                    if let Some(place) = line.mark {
                        chart.draw_series([Circle::new(place, 4 * z, colour.filled())])?;
                    }
                }
            }};
        }
        if self.x.logarithmic {
            chart!(x.log_scale());
        } else {
            chart!(x);
        }
        area.present()?;
        Ok(())
    }
}

const GREY: RGBColor = RGBColor(120, 120, 120);

fn font(points: u32, zoom: u32) -> TextStyle<'static> {
    ("sans-serif", points * zoom).into_font().into()
}

/// Measures and draws everything.
pub fn draw(directory: &Path, scale: Scale) -> Result<(), Failed> {
    fs::create_dir_all(directory)?;
    let fonts = epaint_default_fonts::UBUNTU_LIGHT;
    register_font("sans-serif", FontStyle::Normal, fonts).map_err(|_| "the font cannot be read")?;
    memory(directory, scale)?;
    speed_up(directory, scale)?;
    latency(directory, scale)
}

/// The memory of all processes while a list is filled and doubled.
fn memory(directory: &Path, scale: Scale) -> Result<(), Failed> {
    let count = scale.of(100_000_000, 4_000_000);
    let mut lines = Vec::new();
    for (way, doubled) in sharing::doubled(count) {
        let memory = doubled?.memory;
        let points: Vec<_> =
            memory.samples.iter().map(|(time, bytes)| (time.as_secs_f64(), *bytes as f64 / 1e9)).collect();
        let peak = points.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1)).unwrap_or_default();
        let name = format!("{way}: peak {}", size(memory.peak()));
        lines.push(Line { name, points, dots: false, mark: Some(peak) });
    }
    let all = || lines.iter().flat_map(|line| &line.points);
    let (longest, most) = all().fold((0.0_f64, 0.0_f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
    let title = format!("A list of {} M integers ({}) filled, then doubled", count / 1_000_000, size(count as u64 * 8));
    let two_digits = |value: &f64| format!("{value:.2}");
    Picture {
        title: &title,
        x: Axis { name: "time, s", from: 0.0, to: longest * 1.12, logarithmic: false, ticks: 8, label: two_digits },
        y: Axis {
            name: "memory of all processes, GB",
            from: 0.0,
            to: most * 1.2,
            logarithmic: false,
            ticks: 8,
            label: two_digits,
        },
        lines,
        ideal: None,
    }
    .write(directory, "memory")
}

#[parallel(mode = "process")]
fn count(times: u64) -> u64 {
    starting::increments(times)
}

/// How much faster more workers are. All of them run the same code, `increments`, which is inlined nowhere: where a loop of so few instructions lies
/// makes it up to one and a half times as fast.
fn speed_up(directory: &Path, scale: Scale) -> Result<(), Failed> {
    let items = || std::iter::repeat_n(1_000_000, scale.of(200, 40));
    let best = |work: &dyn Fn()| (0..3).map(|_| timed(work).1).min().unwrap_or_default().as_secs_f64();
    let serial = || best(&|| items().for_each(|times| assert_eq!(count::inline(times), times)));
    let cpus = parallel_runtime::cpu_count();
    let most = (2 * cpus).clamp(4, 64);
    let workers: Vec<usize> =
        (1..=most).filter(|workers| most <= 16 || workers % (most / 16) == 0 || *workers == 1).collect();
    // Serial runs in between: the machine may be slower at times.
    let mut fastest = serial();
    let (mut threads, mut processes) = (Vec::new(), Vec::new());
    for workers in workers {
        let pool = ThreadPool::new(workers);
        pool.start()?;
        threads.push((workers as f64, best(&|| drop(count::on(&pool).map(items())))));
        let pool = ProcessPool::new(workers);
        pool.start()?;
        processes.push((workers as f64, best(&|| drop(count::on(&pool).map(items())))));
        fastest = fastest.min(serial());
    }
    for (_, time) in threads.iter_mut().chain(&mut processes) {
        *time = fastest / *time;
    }
    let ideal = (1..=most).map(|workers| (workers as f64, workers.min(cpus) as f64)).collect();
    let line = |name: &str, points: Vec<_>| Line { name: name.into(), points, dots: true, mark: None };
    // A worker more than the caller: with one, the caller only waits.
    let title = format!("map over {} items of 1 M increments on {cpus} CPUs; the caller waits", items().count());
    let number = |value: &f64| format!("{value}");
    Picture {
        title: &title,
        x: Axis { name: "workers", from: 1.0, to: most as f64, logarithmic: false, ticks: most, label: number },
        y: Axis {
            name: "speed-up over a serial loop",
            from: 0.0,
            to: cpus as f64 * 1.2,
            logarithmic: false,
            ticks: 8,
            label: number,
        },
        lines: vec![line("threads", threads), line("processes", processes)],
        ideal: Some(line("one for each worker, up to the number of CPUs", ideal)),
    }
    .write(directory, "speed-up")
}

#[parallel(mode = "process", pool = 2)]
fn echo(x: u64) -> u64 {
    x
}

/// How long single calls take.
fn latency(directory: &Path, scale: Scale) -> Result<(), Failed> {
    let calls = scale.of(100_000, 10_000);
    let (threads, processes) = (ThreadPool::new(2), ProcessPool::new(2));
    type Subject<'s> = (&'static str, u64, Box<dyn Fn(u64) -> u64 + 's>);
    let subjects: [Subject<'_>; 4] = [
        ("f(x) on threads", calls, Box::new(|x| echo::on(&threads).call(x))),
        ("f(x) in processes", calls, Box::new(|x| echo::on(&processes).call(x))),
        ("f::submit(x).await in processes", calls, {
            Box::new(|x| futures_lite::future::block_on(echo::on(&processes).submit(x)).unwrap_or(0))
        }),
        ("f::spawn(x).join(), a process each", calls / 500, Box::new(|x| echo::spawn(x).join().unwrap_or(0))),
    ];
    let mut lines = Vec::new();
    for (name, calls, call) in subjects {
        call(0);
        let mut times: Vec<Duration> = (0..calls).map(|x| timed(|| assert_eq!(call(x), x)).1).collect();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let points = (0..=1000).map(|step| (at(f64::from(step) / 1000.0), f64::from(step) / 10.0)).collect();
        let name = format!("{name}: median {}, p99 {}", microseconds(&at(0.5)), microseconds(&at(0.99)));
        lines.push(Line { name, points, dots: false, mark: None });
    }
    Picture {
        title: "How long single calls take, one after the other",
        x: Axis { name: "time of a call", from: 0.1, to: 10_000.0, logarithmic: true, ticks: 8, label: microseconds },
        y: Axis {
            name: "calls that take at most that, %",
            from: 0.0,
            to: 102.0,
            logarithmic: false,
            ticks: 8,
            label: |value| format!("{value:.0}"),
        },
        lines,
        ideal: None,
    }
    .write(directory, "latency")
}

fn microseconds(value: &f64) -> String {
    match *value {
        us if us < 0.9999 => format!("{:.0} ns", us * 1e3),
        us if us < 9.9999 => format!("{us:.1} µs"),
        us if us < 999.9 => format!("{us:.0} µs"),
        us => format!("{:.1} ms", us / 1e3),
    }
}
