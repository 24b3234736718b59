//! The two number types of host points: f32 and f64.

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use crate::random::Stream;

thread_local! {
    static POOL_F32: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    static POOL_F64: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) };
}

/// f32 or f64.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
    + 'static
{
    /// Round an f64 to this type.
    fn of(value: f64) -> Self;
    /// Widen to f64.
    fn to_f64(self) -> f64;
    /// Absolute value.
    fn magnitude(self) -> Self;
    /// The thread's pool of vectors for temporary use.
    #[doc(hidden)]
    fn with_pool<R>(f: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R;
    /// Call `each(number, normal)` for every number, in order, with the stream's next normals of this type.
    fn for_normals(stream: &mut Stream, out: &mut [Self], each: impl FnMut(&mut Self, Self));
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn for_normals(stream: &mut Stream, out: &mut [Self], each: impl FnMut(&mut Self, Self)) {
        stream.for_normals_f32(out, each);
    }
    fn with_pool<R>(f: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R {
        POOL_F32.with_borrow_mut(f)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn for_normals(stream: &mut Stream, out: &mut [Self], each: impl FnMut(&mut Self, Self)) {
        stream.for_normals_f64(out, each);
    }
    fn with_pool<R>(f: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R {
        POOL_F64.with_borrow_mut(f)
    }
}
