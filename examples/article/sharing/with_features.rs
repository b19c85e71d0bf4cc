//! The same on ndarray's arrays and on Arrow's batches.

#[cfg(feature = "ndarray")]
pub(super) use nd::array;
#[cfg(feature = "arrow")]
pub(super) use record::batch;

#[cfg(feature = "ndarray")]
mod nd {
    use std::time::Duration;

    use ndarray::{ArrayViewMut2, Axis};
    use parallel_runtime::{SharedNdArray, parallel};

    use crate::table::{Row, check, timed};

    #[parallel(mode = "process", pool = 2)]
    fn normalise_views(mut rows: ArrayViewMut2<'_, f64>) {
        for mut row in rows.outer_iter_mut() {
            let norm = row.iter().map(|number| number * number).sum::<f64>().sqrt();
            row.iter_mut().for_each(|number| *number /= norm);
        }
    }

    pub(in super::super) fn array(rows: usize, columns: usize, expected: &[f64], serial: Duration) -> Row {
        let mut matrix = SharedNdArray::from_shape_fn((rows, columns), |(row, column)| {
            ((row * columns + column) % 1009) as f64 + 1.0
        });
        let (_, ours) = timed(|| normalise_views::map(matrix.view_mut().axis_chunks_iter_mut(Axis(0), rows / 20)));
        let right = check(&matrix.view().iter().eq(expected), &true, "the same to the last bit");
        Row::new("  as an ndarray", right).serial(serial).ours(ours)
    }
}

#[cfg(feature = "arrow")]
mod record {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, UInt8Type};
    use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt8Array};
    use parallel_runtime::{SharedBatch, parallel};

    use super::super::total;
    use crate::table::{Row, check, timed};

    #[parallel(mode = "process", pool = 2)]
    fn by_city_of_batch(batch: SharedBatch, from: usize, rows: usize) -> Vec<f64> {
        let part = batch.slice(from, rows);
        let (cities, prices) =
            (part.column(0).as_primitive::<UInt8Type>(), part.column(1).as_primitive::<Float64Type>());
        let mut sums = vec![0.0; 8];
        for (city, price) in cities.values().iter().zip(prices.values()) {
            sums[usize::from(*city)] += price;
        }
        sums
    }

    pub(in super::super) fn batch(
        rows: usize,
        city: fn(usize) -> u8,
        price: fn(usize) -> f64,
        expected: &Vec<f64>,
        serial: Duration,
    ) -> Row {
        let columns: [(&str, ArrayRef); 2] = [
            ("city", Arc::new(UInt8Array::from_iter_values((0..rows).map(city)))),
            ("price", Arc::new(Float64Array::from_iter_values((0..rows).map(price)))),
        ];
        let batch = RecordBatch::try_from_iter(columns).map(|batch| SharedBatch::new(&batch).expect("memory"));
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Row::new("  as an Arrow batch", Err(error.to_string())),
        };
        let part = rows / 16;
        let parts = (0..rows).step_by(part).map(|from| (batch.clone(), from, part));
        let (sums, ours) = timed(|| total(by_city_of_batch::map(parts)));
        Row::new("  as an Arrow batch", check(&sums, expected, "the same sums")).serial(serial).ours(ours)
    }
}
