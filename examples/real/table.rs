//! The table that each of these programs prints.

use std::time::{Duration, Instant};

/// Prints a row for each way of doing the work. The first one is the serial one.
pub struct Table {
    pub rounds: usize,
    serial: Option<Duration>,
}

impl Table {
    pub fn new(rounds: usize) -> Self {
        println!("{:<46}{:>9}  speed-up", "", "time");
        Self { rounds, serial: None }
    }

    /// Does the work `rounds` times and prints the shortest time.
    pub fn row<T, E>(&mut self, name: &str, mut work: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        let mut timed = || {
            let begun = Instant::now();
            work().map(|result| (begun.elapsed(), result))
        };
        let (mut shortest, mut result) = timed()?;
        for _ in 1..self.rounds {
            let (time, again) = timed()?;
            (shortest, result) = (shortest.min(time), again);
        }
        self.print(name, shortest);
        Ok(result)
    }

    pub fn print(&mut self, name: &str, time: Duration) {
        let serial = *self.serial.get_or_insert(time);
        println!("{name:<46}{:>6.0} ms  {:.2}", time.as_secs_f64() * 1e3, serial.as_secs_f64() / time.as_secs_f64());
    }
}
