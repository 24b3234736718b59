//! Two-dimensional laws that are easy to look at; several have their exact density.
//!
//! Each is a struct of settings with a [`Default`], drawn from by [`Toy::sample`]. Draws are independent (no
//! fixed grid of angles as in some libraries), and the part a point came from (which moon, which mode) is its
//! label in [`Toy::dataset`].
//!
//! ```
//! use ebm_core::random::{Purpose, Stream};
//! use ebm_datasets::toys::{EightGaussians, Toy};
//! let law = EightGaussians::default();
//! let points = law.sample(1000, &mut Stream::new(0, Purpose::Synthetic, 0))?;
//! assert_eq!(points.dim(), (1000, 2));
//! let centre = law.modes()[0];
//! assert!(law.log_density(centre[0], centre[1]) > law.log_density(0.0, 0.0));
//! # Ok::<(), ebm_core::Error>(())
//! ```

mod any;
mod checkerboard;
mod circles;
mod eight_gaussians;
mod moons;
mod ring;
mod spirals;

use ebm_core::random::Stream;
use ebm_core::{Error, Result};
use ndarray::Array2;

use crate::Dataset;

pub use any::AnyToy;
pub use checkerboard::Checkerboard;
pub use circles::Circles;
pub use eight_gaussians::EightGaussians;
pub use moons::Moons;
pub use ring::Ring;
pub use spirals::Spirals;

/// A law on the plane that can be drawn from.
pub trait Toy {
    /// Check the settings.
    ///
    /// # Errors
    /// With the name, value and limit of the first impossible one.
    fn check(&self) -> Result<()>;

    /// The number of parts (moons, modes, arms ...).
    fn n_parts(&self) -> usize;

    /// One point and the part it came from; the settings must have passed [`Toy::check`].
    fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize);

    /// The logarithm of the density at a point, where there is a closed form.
    fn exact_log_density(&self, x: f64, y: f64) -> Option<f64> {
        let _ = (x, y);
        None
    }

    /// `n` independent points, `[n, 2]`.
    ///
    /// # Errors
    /// As for [`Toy::check`].
    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Array2<f32>> {
        Ok(draws(self, n, stream)?.0)
    }

    /// `n` independent points of shape `[2]` with their parts as labels.
    ///
    /// # Errors
    /// As for [`Toy::check`].
    fn dataset(&self, name: &str, n: usize, stream: &mut Stream) -> Result<Dataset> {
        let (x, parts) = draws(self, n, stream)?;
        Dataset::new(name, x, &[2])?.with_labels(parts, self.n_parts())
    }
}

fn draws<T: Toy + ?Sized>(toy: &T, n: usize, stream: &mut Stream) -> Result<(Array2<f32>, Vec<i64>)> {
    toy.check()?;
    let (mut x, mut parts) = (Array2::zeros((n, 2)), Vec::with_capacity(n));
    for mut row in x.rows_mut() {
        let (point, part) = toy.draw(stream);
        (row[0], row[1]) = (point[0] as f32, point[1] as f32);
        parts.push(part as i64);
    }
    Ok((x, parts))
}

/// A length: finite and above 0 (or not below it), and far from the limits of f32.
fn check_length(name: &str, value: f64, zero_is_fine: bool) -> Result<()> {
    if (zero_is_fine && value == 0.0) || (1e-6..=1e6).contains(&value) {
        return Ok(());
    }
    let zero = if zero_is_fine { "0 or " } else { "" };
    Err(Error::bad_value(name, value, format!("{zero}in 1e-6..=1e6"), "scale the data afterwards"))
}

/// Normal noise added to a point.
fn with_noise(point: [f64; 2], sd: f64, stream: &mut Stream) -> [f64; 2] {
    point.map(|v| v + sd * stream.normal())
}

/// An angle uniform on the circle.
fn angle(stream: &mut Stream) -> f64 {
    std::f64::consts::TAU * stream.uniform()
}

#[cfg(test)]
mod tests;
