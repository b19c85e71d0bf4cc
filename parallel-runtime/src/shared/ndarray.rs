//! N-dimensional arrays in shared memory, as views of the `ndarray` crate.

use std::fmt;
use std::marker::PhantomData;

use bytemuck::Pod;
use ndarray::{ArrayBase, ArrayView, ArrayViewMut, Data, Dimension, IntoDimension, Ix1, Ix2, Ix3, IxDyn};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::lending;
use super::or_panic::or_panic;
use super::slice::SharedSlice;
use super::vec::SharedVec;
use crate::codec::{self, CodecError, Reader, Writer};
use crate::error::TaskError;

/// An N-dimensional array in shared memory with one owner, in row-major order: a [`SharedVec`] with a shape.
///
/// Its views are those of the `ndarray` crate. A function may take them by value, `ArrayView<f64, Ix2>` and
/// `ArrayViewMut<f64, Ix2>`: those of shared memory are passed by their place, so **nothing is copied**.
///
/// ```
/// use ndarray::{ArrayViewMut2, Axis};
/// use parallel_runtime::{SharedNdArray, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn double(mut rows: ArrayViewMut2<'_, f64>) -> usize {
///     rows.mapv_inplace(|number| 2.0 * number);
///     rows.nrows()
/// }
///
/// let mut grid = SharedNdArray::from_shape_fn((100, 50), |(row, column)| (row * column) as f64);
/// let rows = double::map(grid.view_mut().axis_chunks_iter_mut(Axis(0), 30));
/// assert_eq!(rows, [30, 30, 30, 10]);
/// assert_eq!(grid.view()[[99, 49]], 2.0 * 99.0 * 49.0);
/// ```
///
/// What can travel as a place is a view of whole rows, without gaps: `axis_chunks_iter`, `outer_iter`, `split_at` along the first axis,
/// the whole. An `ArrayView` that is something else, or lies elsewhere, is copied to the worker; an `ArrayViewMut` is then an error.
///
/// It moves into a task and out as its result like a [`SharedVec`].
pub struct SharedNdArray<T, D: Dimension> {
    elements: SharedVec<T>,
    shape: D,
}

/// The same with one dimension.
pub type SharedArray1<T> = SharedNdArray<T, Ix1>;
/// The same with two dimensions.
pub type SharedArray2<T> = SharedNdArray<T, Ix2>;
/// The same with three dimensions.
pub type SharedArray3<T> = SharedNdArray<T, Ix3>;
/// The same with any number of dimensions.
pub type SharedArrayD<T> = SharedNdArray<T, IxDyn>;

/// An N-dimensional array in shared memory that is read-only: a [`SharedSlice`] with a shape. A clone is another handle.
pub struct SharedNdSlice<T, D: Dimension> {
    elements: SharedSlice<T>,
    shape: D,
}

/// How many elements a shape has. As for `ndarray`, the lengths that are not 0 must have a product that is an `isize`.
fn size_of_shape<D: Dimension>(shape: &D) -> Option<usize> {
    let axes = shape.slice();
    let others = axes.iter().filter(|axis| **axis != 0).try_fold(1_usize, |size, axis| size.checked_mul(*axis))?;
    let size = if axes.contains(&0) { 0 } else { others };
    isize::try_from(others).is_ok().then_some(size)
}

impl<T: Pod, D: Dimension> SharedNdArray<T, D> {
    /// An array of zeros.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn zeros(shape: impl IntoDimension<Dim = D>) -> Self {
        or_panic(Self::try_zeros(shape))
    }

    /// [`zeros`](SharedNdArray::zeros), with an error if shared memory is short.
    pub fn try_zeros(shape: impl IntoDimension<Dim = D>) -> Result<Self, TaskError> {
        let shape = shape.into_dimension();
        Ok(Self { elements: SharedVec::try_zeroed(size_of_shape(&shape).unwrap_or(usize::MAX))?, shape })
    }

    /// An array whose elements are made from their indices, in place.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`]; or if `element` panics.
    #[track_caller]
    pub fn from_shape_fn(shape: impl IntoDimension<Dim = D>, mut element: impl FnMut(D::Pattern) -> T) -> Self {
        let mut array = Self::zeros(shape);
        array.view_mut().indexed_iter_mut().for_each(|(index, target)| *target = element(index));
        array
    }

    /// A copy of an array or view.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn from_array<S: Data<Elem = T>>(array: &ArrayBase<S, D>) -> Self {
        let mut copy = Self::zeros(array.raw_dim());
        copy.view_mut().assign(array);
        copy
    }

    /// A buffer with a shape. `None` if it has another number of elements.
    pub fn from_shared_vec(shape: impl IntoDimension<Dim = D>, elements: SharedVec<T>) -> Option<Self> {
        let shape = shape.into_dimension();
        (size_of_shape(&shape) == Some(elements.len())).then_some(Self { elements, shape })
    }

    /// The elements, in row-major order.
    pub fn into_shared_vec(self) -> SharedVec<T> {
        self.elements
    }

    /// A view of all elements, to change them.
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        ArrayViewMut::from_shape(self.shape.clone(), &mut self.elements).expect("there are as many as the shape says")
    }

    /// Turns it into a slice that many can read and none can change.
    pub fn share(self) -> SharedNdSlice<T, D> {
        SharedNdSlice { elements: self.elements.share(), shape: self.shape }
    }
}

macro_rules! views {
    ($($type:ident),*) => {$(
        impl<T: Pod, D: Dimension> $type<T, D> {
            /// A view of all elements.
            pub fn view(&self) -> ArrayView<'_, T, D> {
                ArrayView::from_shape(self.shape.clone(), &self.elements).expect("there are as many as the shape says")
            }

            /// The length of each axis.
            pub fn shape(&self) -> &[usize] {
                self.shape.slice()
            }

            /// Returns the number of elements.
            pub fn len(&self) -> usize {
                self.elements.len()
            }

            /// Returns whether there are none.
            pub fn is_empty(&self) -> bool {
                self.elements.is_empty()
            }
        }

        impl<T: Pod + fmt::Debug, D: Dimension> fmt::Debug for $type<T, D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.view(), f)
            }
        }

        impl<T: Pod, D: Dimension> Serialize for $type<T, D> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                (&self.elements, self.shape.slice()).serialize(serializer)
            }
        }

        impl<'de, T: Pod, D: Dimension> Deserialize<'de> for $type<T, D> {
            fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
                let (elements, axes) = Deserialize::deserialize(deserializer)?;
                let shape = shape_of(axes).ok_or_else(|| de::Error::custom("the array has another number of axes"))?;
                let array = Self { elements, shape };
                if size_of_shape(&array.shape) == Some(array.elements.len()) {
                    Ok(array)
                } else {
                    Err(de::Error::custom("the array has another number of elements than its shape"))
                }
            }
        }
    )*};
}
views!(SharedNdArray, SharedNdSlice);

impl<T, D: Dimension> Clone for SharedNdSlice<T, D> {
    fn clone(&self) -> Self {
        Self { elements: self.elements.clone(), shape: self.shape.clone() }
    }
}

/// A shape of so many axes, if `D` can be one.
fn shape_of<D: Dimension>(axes: Vec<usize>) -> Option<D> {
    if D::NDIM.is_some_and(|dimensions| dimensions != axes.len()) {
        return None;
    }
    let mut shape = D::zeros(axes.len());
    shape.slice_mut().copy_from_slice(&axes);
    Some(shape)
}

fn receive_shape<D: Dimension>(reader: &mut Reader<'_>) -> Result<D, CodecError> {
    shape_of(codec::decode(reader)?).ok_or_else(|| CodecError::new("a view has another number of axes"))
}

/// A view: its shape, and where its elements lie or what they are.
#[derive(Debug)]
pub struct PlainView<E, D>(PhantomData<fn(E, D)>);

impl<E: Pod, D: Dimension> PlainView<E, D> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    pub fn send(&self, view: &ArrayView<'_, E, D>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        codec::encode(view.shape(), writer)?;
        if let Some(elements) = view.as_slice()
            && lending::send(elements, false, writer)?
        {
            return Ok(());
        }
        writer.put((view.len() as u64).to_ne_bytes());
        writer.align(align_of::<E>());
        match view.as_slice() {
            Some(elements) => writer.put_slice(bytemuck::cast_slice(elements)),
            None => view.iter().for_each(|element| writer.put_slice(bytemuck::bytes_of(element))),
        }
        Ok(())
    }

    pub fn receive<'m>(&self, reader: &mut Reader<'m>) -> Result<ArrayView<'m, E, D>, CodecError> {
        let shape: D = receive_shape(reader)?;
        let elements = if let Some(lent) = lending::receive(reader)? {
            // SAFETY: `send` of this pass mode has lent this memory to the message (`ProcessFn` promises that no other wrote it), whose
            // arguments are read as long as `'m`; its owner does not change it meanwhile.
            unsafe { lent.slice() }
        } else {
            let len = reader.take_len(size_of::<E>())?;
            reader.align(align_of::<E>())?;
            reader.slice(len)?
        };
        ArrayView::from_shape(shape, elements).map_err(CodecError::new)
    }
}

/// An exclusive view: its shape, and where its elements lie.
#[derive(Debug)]
pub struct PlainViewMut<E, D>(PhantomData<fn(E, D)>);

impl<E: Pod, D: Dimension> PlainViewMut<E, D> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    pub fn send(&self, view: &ArrayViewMut<'_, E, D>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        codec::encode(view.shape(), writer)?;
        if view.is_empty() {
            writer.put(0_u64.to_ne_bytes());
            return Ok(());
        }
        if let Some(elements) = view.as_slice()
            && lending::send(elements, true, writer)?
        {
            return Ok(());
        }
        Err(CodecError::new(
            "an `ArrayViewMut` travels only if it is whole rows of a `SharedNdArray`: keep the array in one, and take it apart along its first axis",
        ))
    }

    pub fn receive<'m>(&self, reader: &mut Reader<'m>) -> Result<ArrayViewMut<'m, E, D>, CodecError> {
        let shape: D = receive_shape(reader)?;
        let elements = if let Some(lent) = lending::receive(reader)? {
            // SAFETY: `send` of this pass mode has lent this memory to the message (`ProcessFn` promises that no other wrote it), whose
            // arguments are read as long as `'m`; it was borrowed exclusively there, so nothing else uses it meanwhile.
            unsafe { lent.slice_mut() }
        } else {
            reader.take_len(size_of::<E>())?;
            &mut []
        };
        ArrayViewMut::from_shape(shape, elements).map_err(CodecError::new)
    }
}
