//! N-dimensional arrays, and their views as parameters.

use ndarray::{Array2, ArrayView, ArrayView1, ArrayView2, ArrayViewMut2, ArrayViewMutD, Axis, IxDyn, s};
use parallel_runtime::{SharedArrayD, SharedNdArray, SharedNdSlice, TaskError, ThreadPool, parallel};

#[parallel(mode = "process", pool = 2)]
fn double(mut rows: ArrayViewMut2<'_, f64>) -> usize {
    rows.mapv_inplace(|number| 2.0 * number);
    rows.nrows()
}

#[parallel(mode = "process", pool = 2)]
fn total(view: ArrayView2<f64>) -> f64 {
    view.sum()
}

#[parallel(mode = "process", pool = 2)]
fn place(view: ArrayView1<'_, u8>) -> usize {
    view.as_ptr().addr()
}

fn numbered() -> SharedNdArray<f64, ndarray::Ix2> {
    SharedNdArray::from_shape_fn((10, 6), |(row, column)| (row * 10 + column) as f64)
}

#[test]
fn outer_chunks_are_changed_where_they_are() {
    let mut grid = numbered();
    let rows = double::map(grid.view_mut().axis_chunks_iter_mut(Axis(0), 3));
    assert_eq!(rows, [3, 3, 3, 1]);
    assert_eq!(double(grid.view_mut()), 10);
    assert_eq!(grid.view(), Array2::from_shape_fn((10, 6), |(row, column)| 4.0 * (row * 10 + column) as f64));
    let threads = ThreadPool::new(2);
    double::on(&threads).map(grid.view_mut().axis_chunks_iter_mut(Axis(0), 5));
    assert_eq!(grid.view()[[9, 5]], 8.0 * 95.0);
}

#[test]
fn whole_rows_are_not_copied_and_everything_else_arrives_all_the_same() {
    let bytes = SharedNdArray::from_shape_fn(100_000, |index| index as u8);
    let pool = parallel_runtime::ProcessPool::new(1);
    let view = bytes.view();
    let (first, second) = view.split_at(Axis(0), 50_000);
    let one = place::on(&pool).call(first);
    assert_eq!(place::on(&pool).call(second) - one, 50_000);
    let grid = numbered();
    assert_eq!(total(grid.view()), grid.view().sum());
    assert_eq!(total(grid.view().t()), grid.view().sum());
    assert_eq!(total(grid.view().slice(s![1..;3, ..;-2])), grid.view().slice(s![1..;3, ..;-2]).sum());
    let ordinary = grid.view().to_owned();
    assert_eq!(total(ordinary.view()), ordinary.sum());
    assert_eq!(total(ArrayView::from_shape((0, 5), &[]).unwrap()), 0.0);
}

#[test]
fn an_exclusive_view_that_would_have_to_be_copied_is_refused_with_the_way_out() {
    let mut ordinary = Array2::<f64>::zeros((4, 4));
    let mut grid = numbered();
    let columns = grid.view_mut().into_slice().is_some();
    assert!(columns);
    let refused = [
        double::try_map([ordinary.view_mut()]).remove(0),
        double::try_map([grid.view_mut().slice_mut(s![.., 1..])]).remove(0),
    ];
    for error in refused {
        assert!(
            matches!(&error, Err(TaskError::Encode { reason, .. }) if reason.contains("SharedNdArray")),
            "{error:?}"
        );
    }
    let mut nothing = SharedNdArray::<f64, _>::zeros((0, 3));
    assert_eq!(double(nothing.view_mut()), 0);
}

#[test]
fn arrays_move_as_handles_with_their_shape() {
    #[parallel(mode = "process", pool = 2)]
    fn transform(mut array: SharedArrayD<i32>, other: SharedNdSlice<i32, ndarray::Ix3>) -> SharedArrayD<i32> {
        array.view_mut()[[1, 2]] += other.view()[[0, 1, 0]];
        array
    }
    let array = SharedNdArray::from_shape_fn(IxDyn(&[2, 3]), |index| (index[0] * 3 + index[1]) as i32);
    let cube = SharedNdArray::from_shape_fn((1, 2, 1), |(_, y, _)| y as i32 * 100).share();
    let array = transform(array, cube.clone());
    assert_eq!((array.shape(), array.view()[[1, 2]], array.len()), (&[2, 3][..], 105, 6));
    assert_eq!((cube.shape(), cube.clone().view().sum()), (&[1, 2, 1][..], 100));
    let copy = SharedNdArray::from_array(&array.view().t());
    assert_eq!(copy.view(), array.view().t());
    let flat = array.into_shared_vec();
    assert_eq!(flat, [0, 1, 2, 3, 4, 105]);
    assert!(SharedNdArray::from_shared_vec((2, 2), flat).is_none());
}

#[test]
fn views_of_any_number_of_dimensions_travel() {
    #[parallel(mode = "process", pool = 2)]
    fn fill(mut view: ArrayViewMutD<'_, u16>, with: u16) {
        view.fill(with);
    }
    let mut cube = SharedNdArray::<u16, _>::zeros(IxDyn(&[4, 3, 2]));
    let mut view = cube.view_mut();
    fill::map(view.outer_iter_mut().zip(1..));
    assert_eq!(cube.view().sum(), (1 + 2 + 3 + 4) * 6);
}
