//! A data frame in shared memory, filtered and summed by groups: the file is read once, and all workers read the same columns.
//!
//! ```sh
//! cargo run --release --features arrow --example arrow_groupby             # makes a CSV file of 2 M rows
//! cargo run --release --features arrow --example arrow_groupby -- FILE     # columns: city, year, price
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use parallel_runtime::{SharedBatch, parallel};

/// Number and sum of the prices by city, of the rows of one part that are of `year` or later.
#[parallel(mode = "process", pool = 2)]
fn by_city(frame: SharedBatch, from: usize, rows: usize, year: i64) -> BTreeMap<String, (u64, f64)> {
    let part = frame.slice(from, rows);
    let cities = part.column(0).as_string::<i32>();
    let years = part.column(1).as_primitive::<Int64Type>();
    let prices = part.column(2).as_primitive::<Float64Type>();
    let mut sums: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for row in (0..part.num_rows()).filter(|row| years.value(*row) >= year) {
        let (count, sum) = sums.entry(cities.value(row)).or_default();
        *count += 1;
        *sum += prices.value(row);
    }
    sums.into_iter().map(|(city, sum)| (city.to_owned(), sum)).collect()
}

fn write_file(path: &Path) -> std::io::Result<()> {
    let cities = ["Bergen", "Cádiz", "Graz", "Łódź", "Porto", "Turku"];
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "city,year,price")?;
    let mut state = 1_u64;
    for _ in 0..2_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (city, year, price) = ((state >> 33) % 6, 2000 + (state >> 40) % 25, (state >> 20) % 100_000);
        writeln!(file, "{},{year},{}.25", cities[city as usize], price)?;
    }
    file.flush()
}

fn read_file(path: &Path) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let (schema, _) = Format::default().with_header(true).infer_schema(File::open(path)?, Some(1000))?;
    let schema = Arc::new(schema);
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_header(true).with_batch_size(1 << 16);
    let batches = reader.build(File::open(path)?)?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1).map(PathBuf::from);
    let path = given.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("prices-{}.csv", std::process::id())));
    if given.is_none() {
        write_file(&path)?;
    }
    let begun = Instant::now();
    let frame = SharedBatch::new(&read_file(&path)?)?;
    println!("{} rows read in {:.1?}", frame.num_rows(), begun.elapsed());

    let rows = frame.num_rows();
    let part = rows.div_ceil(16).max(1);
    let parts: Vec<_> = (0..rows).step_by(part).map(|from| (from, part.min(rows - from))).collect();
    let items = || parts.iter().map(|(from, rows)| (frame.clone(), *from, *rows, 2015));
    let begun = Instant::now();
    let serial: Vec<_> = items().map(|(frame, from, rows, year)| by_city::inline(frame, from, rows, year)).collect();
    let in_place = begun.elapsed();
    let begun = Instant::now();
    let parallel = by_city::map(items());
    let first = begun.elapsed();
    let begun = Instant::now();
    assert_eq!(by_city::map(items()), parallel);
    let again = begun.elapsed();
    println!(
        "grouped: serial {in_place:.1?}; two workers {first:.1?} the first time (they start, and check the text), then {again:.1?}"
    );
    assert_eq!(serial, parallel);

    let mut cities: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for (city, (count, sum)) in parallel.into_iter().flatten() {
        let total = cities.entry(city).or_default();
        *total = (total.0 + count, total.1 + sum);
    }
    for (city, (count, sum)) in cities {
        println!("{city:<8} {count:>8} rows, mean price {:>10.2}", sum / count as f64);
    }
    if given.is_none() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
