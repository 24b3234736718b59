//! Films of 8x8 digits that move with constant velocity over a 12x12 torus, and their frames as short vectors.
//!
//! A film is a digit, a start place and a velocity in whole pixels a frame: what leaves on one side comes back on the
//! other, so that every frame is a shift of the first and the next frame is known from any two. Frames become vectors by
//! [`FourierFrames`], a frozen orthonormal projection on the Fourier modes of the torus in which the digits vary most.
//! Because every place is equally likely, the covariance of the pixels depends on their distance alone, so these modes
//! *are* the principal components: no eigenvalues have to be computed, the transpose leads back to pictures, and
//! far more of them is kept than by a random projection of the same width.

use std::f64::consts::PI;

use ebm_core::random::{Purpose, Stream};
use ebm_core::{Error, Result};
use ndarray::{Array1, Array2};

use crate::Dataset;

/// Side of the torus, in pixels.
pub const SIDE: usize = 12;

/// Pixels of a frame.
pub const N_PIXELS: usize = SIDE * SIDE;

/// All velocities `[down, right]` whose larger component has a size in `from..=to` pixels a frame.
///
/// Sizes of 1 to 5 give different motions; `from` 1 leaves out rest.
pub fn velocities(from: i32, to: i32) -> Vec<[i32; 2]> {
    let size = |[y, x]: [i32; 2]| y.abs().max(x.abs());
    let all = (-to..=to).flat_map(|y| (-to..=to).map(move |x| [y, x]));
    all.filter(|v| (from..=to).contains(&size(*v))).collect()
}

/// `n_films` films of `n_frames` frames: items of shape `[n_frames, 12, 12]`, the pixels and labels of their digits.
///
/// Film `i` takes its digit, start and velocity, each uniformly, from the stream (seed, `Synthetic`, `i`).
///
/// # Errors
/// When the digits are not 8x8 pictures, or there is no digit, no velocity, or no frame.
pub fn moving_digits(
    digits: &Dataset,
    velocities: &[[i32; 2]],
    n_films: usize,
    n_frames: usize,
    seed: u64,
) -> Result<Dataset> {
    if digits.shape() != [1, 8, 8] {
        return Err(Error::shape(format!("a picture of {}", digits.name()), [1, 8, 8], digits.shape()));
    }
    for (name, n) in [("digits", digits.len()), ("velocities", velocities.len()), ("n_frames", n_frames)] {
        if n == 0 {
            return Err(Error::bad_value(name, 0, "at least 1", ""));
        }
    }
    let mut films = Array2::zeros((n_films, n_frames * N_PIXELS));
    let mut labels = Vec::with_capacity(n_films);
    for (number, mut film) in films.rows_mut().into_iter().enumerate() {
        let mut stream = Stream::new(seed, Purpose::Synthetic, number as u64);
        let digit = stream.below(digits.len());
        let start = [stream.below(SIDE), stream.below(SIDE)];
        let velocity = velocities[stream.below(velocities.len())];
        for (at, frame) in film.as_slice_mut().unwrap_or_default().chunks_exact_mut(N_PIXELS).enumerate() {
            let place = [0, 1].map(|axis| {
                let moved = start[axis] as i64 + at as i64 * i64::from(velocity[axis]);
                moved.rem_euclid(SIDE as i64) as usize
            });
            draw(digits.item(digit).unwrap_or_default(), place, frame);
        }
        labels.extend(digits.labels().map(|labels| labels[digit]));
    }
    let films = Dataset::new(format!("moving {}", digits.name()), films, &[n_frames, SIDE, SIDE])?;
    match digits.labels() {
        Some(_) => films.with_labels(labels, digits.n_classes()),
        None => Ok(films),
    }
}

/// An 8x8 picture on the torus, its upper left corner at `[row, column]`.
fn draw(picture: &[f32], [row, column]: [usize; 2], frame: &mut [f32]) {
    for (at, &value) in picture.iter().enumerate() {
        let (y, x) = ((row + at / 8) % SIDE, (column + at % 8) % SIDE);
        frame[y * SIDE + x] = value;
    }
}

/// The frozen projection of frames to vectors of `width` numbers and back.
#[derive(Clone, Debug, PartialEq)]
pub struct FourierFrames {
    /// Orthonormal rows: `[width, 144]`.
    basis: Array2<f64>,
    mean: Array1<f64>,
    scale: f64,
    kept: f64,
}

impl FourierFrames {
    /// The modes in which digits at uniformly random places vary most.
    ///
    /// Cosine and sine of one frequency have equal variance and go together. Frequencies are taken whole, by falling
    /// variance, while they fit; the numbers are centred and have mean square 1.
    ///
    /// # Errors
    /// When `width` is not in `1..=144`, the digits are not 8x8 pictures or do not vary, or no choice of
    /// whole frequencies has just this width.
    pub fn fit(digits: &Dataset, width: usize) -> Result<Self> {
        if digits.shape() != [1, 8, 8] || digits.is_empty() {
            return Err(Error::shape(format!("a picture of {}", digits.name()), [1, 8, 8], digits.shape()));
        }
        if width == 0 || width > N_PIXELS {
            return Err(Error::bad_value("width", width, format!("in 1..={N_PIXELS}"), ""));
        }
        // Over all places the mean frame is flat: the digits' mean ink per pixel.
        let ink = digits.x().rows().into_iter().map(|row| row.iter().map(|&v| f64::from(v)).sum::<f64>());
        let mean = ink.sum::<f64>() / (digits.len() * N_PIXELS) as f64;
        let mut frequencies = frequencies();
        let mut all = 0.0;
        for (modes, variance) in &mut frequencies {
            // Over all places the phase is uniform, so each mode of a frequency has its mean power.
            let power: f64 =
                digits.x().rows().into_iter().map(|row| power(modes, row.as_slice(), mean)).sum();
            *variance = power / (digits.len() * modes.len()) as f64;
            all += power / digits.len() as f64;
        }
        frequencies.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (mut rows, mut variance) = (Vec::new(), 0.0);
        for (modes, each) in frequencies {
            if rows.len() + modes.len() <= width {
                variance += each * modes.len() as f64;
                rows.extend(modes);
            }
        }
        if rows.len() != width || !(variance > 0.0) {
            let found = format!("{width} of {}", digits.name());
            return Err(Error::bad_value("width", found, "reached by frequencies that vary", "48 is usual"));
        }
        let basis = Array2::from_shape_fn((width, N_PIXELS), |(mode, pixel)| rows[mode][pixel]);
        let scale = (width as f64 / variance).sqrt();
        Ok(Self { basis, mean: Array1::from_elem(N_PIXELS, mean), scale, kept: variance / all })
    }

    /// Numbers of a frame's vector.
    pub fn width(&self) -> usize {
        self.basis.nrows()
    }

    /// The share of the frames' variance that the vectors keep.
    pub fn kept(&self) -> f64 {
        self.kept
    }

    /// Films of frames `[n_frames, 12, 12]` as films of vectors `[n_frames, width]`.
    ///
    /// # Errors
    /// When the frames have another size.
    pub fn project(&self, films: &Dataset) -> Result<Dataset> {
        let &[n_frames, SIDE, SIDE] = films.shape() else {
            return Err(Error::shape(
                format!("a film of {}", films.name()),
                ["frames", "12", "12"],
                films.shape(),
            ));
        };
        let mut vectors = Array2::zeros((films.len(), n_frames * self.width()));
        for (film, mut out) in films.values().chunks_exact(n_frames * N_PIXELS).zip(vectors.rows_mut()) {
            let frames = film.chunks_exact(N_PIXELS);
            for (frame, out) in
                frames.zip(out.as_slice_mut().unwrap_or_default().chunks_exact_mut(self.width()))
            {
                let centred: Array1<f64> =
                    frame.iter().zip(&self.mean).map(|(&v, m)| f64::from(v) - m).collect();
                let vector = self.basis.dot(&centred);
                out.iter_mut().zip(vector).for_each(|(out, v)| *out = (v * self.scale) as f32);
            }
        }
        films.with_x(vectors, &[n_frames, self.width()])
    }

    /// The picture of a vector, 144 pixels: exact but for the modes that were left out.
    ///
    /// # Errors
    /// When the vector has another width.
    pub fn picture(&self, vector: &[f32]) -> Result<Vec<f32>> {
        if vector.len() != self.width() {
            return Err(Error::shape("a frame's vector", self.width(), vector.len()));
        }
        let vector: Array1<f64> = vector.iter().map(|&v| f64::from(v) / self.scale).collect();
        let picture = vector.dot(&self.basis) + &self.mean;
        Ok(picture.iter().map(|&v| v as f32).collect())
    }
}

/// Orthonormal real Fourier modes of the torus by frequency: one where the frequency is its own mirror, else cosine and
/// sine. The variances are left 0.
fn frequencies() -> Vec<(Vec<Vec<f64>>, f64)> {
    let mirror = |k: usize| (SIDE - k) % SIDE;
    let mut all = Vec::new();
    for (a, b) in (0..SIDE).flat_map(|a| (0..SIDE).map(move |b| (a, b))) {
        let own_mirror = (mirror(a), mirror(b)) == (a, b);
        if (a, b) > (mirror(a), mirror(b)) {
            continue;
        }
        let norm = (if own_mirror { 1.0 } else { 2.0 } / N_PIXELS as f64).sqrt();
        let mode = |wave: fn(f64) -> f64| -> Vec<f64> {
            let angle =
                |pixel: usize| (a * (pixel / SIDE) + b * (pixel % SIDE)) as f64 * 2.0 * PI / SIDE as f64;
            (0..N_PIXELS).map(|pixel| norm * wave(angle(pixel))).collect()
        };
        let modes = if own_mirror { vec![mode(f64::cos)] } else { vec![mode(f64::cos), mode(f64::sin)] };
        all.push((modes, 0.0));
    }
    all
}

/// The squared coefficients of a picture on these modes, together.
fn power(modes: &[Vec<f64>], picture: Option<&[f32]>, mean: f64) -> f64 {
    let mut frame = vec![0.0; N_PIXELS];
    draw(picture.unwrap_or_default(), [0, 0], &mut frame);
    let coefficient =
        |mode: &Vec<f64>| mode.iter().zip(&frame).map(|(m, &v)| m * (f64::from(v) - mean)).sum::<f64>();
    modes.iter().map(|mode| coefficient(mode).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits;

    fn some() -> Dataset {
        digits().unwrap().take(&(0..60).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn every_frame_is_the_first_one_shifted() {
        let velocities = velocities(1, 2);
        assert_eq!(velocities.len(), 24);
        let films = moving_digits(&some(), &velocities, 40, 12, 3).unwrap();
        assert_eq!((films.shape(), films.len()), (&[12, 12, 12][..], 40));
        let pixel = |film: usize, frame: usize, y: i64, x: i64| {
            let [y, x] = [y, x].map(|v| v.rem_euclid(12) as usize);
            films.item(film).unwrap()[frame * N_PIXELS + y * 12 + x]
        };
        let shifted = |film: usize, frame: usize, [dy, dx]: [i32; 2]| {
            let [dy, dx] = [dy, dx].map(|d| i64::from(d) * frame as i64);
            (0..12).all(|y| (0..12).all(|x| pixel(film, frame, y, x) == pixel(film, 0, y - dy, x - dx)))
        };
        let mut found = std::collections::BTreeSet::new();
        for film in 0..40 {
            let velocity = velocities.iter().find(|v| (1..12).all(|frame| shifted(film, frame, **v)));
            found.insert(*velocity.expect("one of the velocities explains the film"));
            // Nothing is lost at the edges.
            let ink = |frame: usize| films.item(film).unwrap()[frame * 144..][..144].iter().sum::<f32>();
            assert!((ink(0) - ink(7)).abs() < 1e-4);
        }
        assert!(found.len() > 12, "{found:?}");
        assert_eq!(films, moving_digits(&some(), &velocities, 40, 12, 3).unwrap());
        assert_eq!(films.take(&[0]).unwrap(), moving_digits(&some(), &velocities, 1, 12, 3).unwrap());
        assert_ne!(films, moving_digits(&some(), &velocities, 40, 12, 4).unwrap());
    }

    #[test]
    fn faster_velocities_are_others() {
        let (slow, fast) = (velocities(1, 2), velocities(3, 3));
        assert_eq!(fast.len(), 24);
        assert!(fast.iter().all(|v| !slow.contains(v)));
        assert!(velocities(0, 0) == [[0, 0]] && velocities(2, 1).is_empty());
    }

    #[test]
    fn the_projection_is_orthonormal_and_keeps_what_it_says() {
        let all = frequencies();
        assert_eq!(all.iter().map(|(modes, _)| modes.len()).sum::<usize>(), N_PIXELS);
        let frames = FourierFrames::fit(&some(), 48).unwrap();
        let gram = frames.basis.dot(&frames.basis.t());
        for ((i, j), value) in gram.indexed_iter() {
            assert!((value - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12);
        }
        // Every place of every digit, exactly: mean square 1, and the variance kept.
        let (mut total, mut kept, mut squares) = (0.0, 0.0, 0.0);
        let mut n = 0.0;
        for digit in some().values().chunks_exact(64) {
            for place in (0..N_PIXELS).step_by(5) {
                let mut film = vec![0.0; N_PIXELS];
                draw(digit, [place / 12, place % 12], &mut film);
                let film =
                    Dataset::new("f", Array2::from_shape_vec((1, 144), film).unwrap(), &[1, 12, 12]).unwrap();
                let vector = frames.project(&film).unwrap();
                let picture = frames.picture(vector.values()).unwrap();
                let sum = |x: &[f32]| x.iter().map(|&v| (f64::from(v) - frames.mean[0]).powi(2)).sum::<f64>();
                total += sum(film.values());
                kept += sum(&picture);
                squares += vector.values().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 48.0;
                n += 1.0;
            }
        }
        assert!((kept / total - frames.kept()).abs() < 1e-3, "{} {}", kept / total, frames.kept());
        assert!((squares / n - 1.0).abs() < 1e-3, "{}", squares / n);
        assert!(frames.kept() > 0.8 && frames.kept() < 1.0, "{}", frames.kept());
    }

    /// No other subspace of that width keeps more: in the directions left out the covariance is smaller than in any
    /// that was kept, and it is diagonal in these modes.
    #[test]
    fn the_modes_are_the_principal_components() {
        let digits = some().take(&[0, 1, 2]).unwrap();
        let mut covariance = Array2::<f64>::zeros((N_PIXELS, N_PIXELS));
        let frames = FourierFrames::fit(&digits, 48).unwrap();
        for digit in digits.values().chunks_exact(64) {
            for place in 0..N_PIXELS {
                let mut frame = vec![0.0f32; N_PIXELS];
                draw(digit, [place / 12, place % 12], &mut frame);
                let x: Array1<f64> = frame.iter().zip(&frames.mean).map(|(&v, m)| f64::from(v) - m).collect();
                let column = x.clone().insert_axis(ndarray::Axis(1));
                covariance = covariance + column.dot(&x.insert_axis(ndarray::Axis(0))) / (3.0 * 144.0);
            }
        }
        let modes: Vec<Vec<f64>> = frequencies().into_iter().flat_map(|(modes, _)| modes).collect();
        let modes = Array2::from_shape_fn((N_PIXELS, N_PIXELS), |(i, j)| modes[i][j]);
        let diagonal = modes.dot(&covariance).dot(&modes.t());
        for ((i, j), value) in diagonal.indexed_iter() {
            assert!(i == j || value.abs() < 1e-10, "{i} {j} {value}");
        }
        let mut variances: Vec<f64> = diagonal.diag().to_vec();
        variances.sort_by(|a, b| b.total_cmp(a));
        let kept = frames.basis.dot(&covariance).dot(&frames.basis.t()).diag().sum();
        // Equal but for a frequency that is split at the 48th place.
        assert!(kept / variances[..48].iter().sum::<f64>() > 0.999, "{kept}");
    }

    #[test]
    fn impossible_wishes_are_errors() {
        let set = some();
        assert!(moving_digits(&set, &[], 1, 12, 0).unwrap_err().to_string().contains("velocities"));
        assert!(moving_digits(&set, &[[1, 0]], 1, 0, 0).is_err());
        assert!(moving_digits(&set.take(&[]).unwrap(), &[[1, 0]], 1, 2, 0).is_err());
        assert!(FourierFrames::fit(&set, 0).is_err() && FourierFrames::fit(&set, 145).is_err());
        let frames = FourierFrames::fit(&set, 48).unwrap();
        assert!(frames.project(&set).is_err() && frames.picture(&[0.0; 47]).is_err());
        let wide = Dataset::new("w", Array2::zeros((1, 4)), &[1, 2, 2]).unwrap();
        assert!(moving_digits(&wide, &[[1, 0]], 1, 2, 0).is_err() && FourierFrames::fit(&wide, 4).is_err());
    }
}
