//! One step back from `x_t` to `x_s`, `s < t`: mean and the two bounds of its variance.
//!
//! `q(x_s | x_t, x_0) = N(c_0 x_0 + c_1 x_t, b~)`, `b = 1 - a_t / a_s`, `b~ = b (1 - a_s) / (1 - a_t)`,
//! `c_0 = sqrt(a_s) b / (1 - a_t)`, `c_1 = sqrt(1 - b) (1 - a_s) / (1 - a_t)` (DDPM, arXiv 2006.11239, equations 6
//! and 7). The best variance of `p(x_s | x_t)` lies between `b~` and `b`, for data of variance 0 and 1; a learned one
//! is placed between them on the scale of logarithms by `v` in [-1, 1] (improved DDPM, arXiv 2102.09672, equation 15).

/// One step back, from `a_t` to `a_s` (1 for the clean point).
#[derive(Clone, Copy, Debug)]
pub(super) struct StepBack {
    /// `a_t`.
    pub alpha_bar: f64,
    /// `a_s`.
    pub next: f64,
}

impl StepBack {
    /// `b`, the upper bound: the variance that the step forward added.
    pub fn upper(&self) -> f64 {
        1.0 - self.alpha_bar / self.next
    }

    /// `b~`, the lower bound; 0 where the step ends at the clean point.
    pub fn lower(&self) -> f64 {
        self.upper() * (1.0 - self.next) / (1.0 - self.alpha_bar)
    }

    /// `c_0`, of the clean point in the mean.
    pub fn of_clean(&self) -> f64 {
        self.next.sqrt() * self.upper() / (1.0 - self.alpha_bar)
    }

    /// `c_1`, of the noisy point in the mean.
    pub fn of_noisy(&self) -> f64 {
        (1.0 - self.upper()).sqrt() * (1.0 - self.next) / (1.0 - self.alpha_bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Gaussian posterior by completing the square: precision `1 / b * a_t / a_s + 1 / (1 - a_s)`.
    #[test]
    fn the_posterior_is_that_of_the_completed_square() {
        let step = StepBack { alpha_bar: 0.3, next: 0.7 };
        let b = step.upper();
        let keep = (0.3f64 / 0.7).sqrt();
        let precision = keep * keep / b + 1.0 / 0.3;
        assert!((step.lower() - 1.0 / precision).abs() < 1e-14);
        assert!((step.of_noisy() - keep / b / precision).abs() < 1e-14);
        assert!((step.of_clean() - 0.7f64.sqrt() / 0.3 / precision).abs() < 1e-14);
        assert_eq!(StepBack { next: 1.0, ..step }.lower(), 0.0);
        assert!((StepBack { next: 1.0, ..step }.of_clean() - 1.0).abs() < 1e-15);
    }
}
