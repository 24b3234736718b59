//! Fast Fourier transform of a power-of-two length (Cooley and Tukey 1965, doi:10.2307/2003354), for
//! autocovariances.

use std::f64::consts::PI;

/// A complex number as (real, imaginary).
pub(super) type Complex = (f64, f64);

/// The transform `X_k = sum_t x_t exp(-2 pi i k t / n)` in place; the length is a power of two.
pub(super) fn fft(x: &mut [Complex]) {
    let n = x.len();
    debug_assert!(n.is_power_of_two());
    if n < 2 {
        return;
    }
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    // Each root straight from sine and cosine: a recurrence would lose digits.
    let roots: Vec<Complex> = (0..n / 2)
        .map(|k| {
            let (sin, cos) = (-2.0 * PI * k as f64 / n as f64).sin_cos();
            (cos, sin)
        })
        .collect();
    let mut half = 1;
    while half < n {
        let stride = n / (2 * half);
        for block in x.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (k, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let w = roots[k * stride];
                let turned = (b.0 * w.0 - b.1 * w.1, b.0 * w.1 + b.1 * w.0);
                *b = (a.0 - turned.0, a.1 - turned.1);
                *a = (a.0 + turned.0, a.1 + turned.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_of_the_definition() {
        for n in [1_usize, 2, 4, 8, 64] {
            let x: Vec<Complex> =
                (0..n).map(|t| ((1.3 * t as f64).sin(), (0.7 * (t * t) as f64).cos())).collect();
            let mut fast = x.clone();
            fft(&mut fast);
            for (k, found) in fast.iter().enumerate() {
                let (mut re, mut im) = (0.0, 0.0);
                for (t, v) in x.iter().enumerate() {
                    let (sin, cos) = (-2.0 * PI * (k * t % n) as f64 / n as f64).sin_cos();
                    re += v.0 * cos - v.1 * sin;
                    im += v.0 * sin + v.1 * cos;
                }
                assert!((found.0 - re).abs() < 1e-13 && (found.1 - im).abs() < 1e-13);
            }
        }
    }
}
