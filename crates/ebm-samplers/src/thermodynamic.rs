//! `ln Z` from the rungs of a path: thermodynamic integration and stepping stone.
//!
//! On `E_beta = (1 - beta) E_0 + beta E_1`, with `V = E_1 - E_0`: `d ln Z / d beta = -E_beta[V]` and
//! `d E_beta[V] / d beta = -Var_beta[V]`, so `ln Z_1 / Z_0` is an integral of means over the rungs, by the trapezoid rule
//! (error of second order in the spacing) or with the slopes that the variances give (fourth order). Stepping stone needs
//! no integral: `Z_beta' / Z_beta = E_beta[exp(-(beta' - beta) V)]`, without bias but for that of the logarithm. Sources:
//! Gelman and Meng 1998 (DOI 10.1214/ss/1028905934); the corrected rule: Friel, Hurn and Wyse (arXiv 1209.3198); Xie,
//! Lewis, Fan, Kuo and Chen 2011 (DOI 10.1093/sysbio/syq085).
//!
//! Standard errors are those of correlated draws (`ebm_metrics::chains::mcse_mean`) of the estimate's linear part.

use ebm_core::{Error, Result, log_sum_exp};
use ebm_metrics::chains::mcse_mean;
use ndarray::{Array2, Axis};

use crate::bridge::check_betas;
use crate::tempering::TemperedRun;

/// Draws of `V = E_1 - E_0` on every rung of a path; for plain tempering, `beta E`, of the energy itself.
///
/// Use it for `log Z` from draws on several rungs of a path. Not where neighbouring rungs hardly overlap: look at the
/// ladder's verdict first.
///
/// ```
/// use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
/// use ebm_samplers::{Hmc, RungSteps, Tempering};
/// let start = Gaussian::diagonal(vec![0.0], vec![16.0])?;
/// let end = GaussianMixture::new(vec![0.3, 0.7], vec![vec![-3.0], vec![3.0]], vec![1.0, 1.0])?;
/// let betas = vec![0.0, 0.1, 0.2, 0.4, 0.7, 1.0];
/// let steps = RungSteps::Same;
/// let tempering = Tempering { betas, steps, n_draws: 500, keep_slopes: true, ..Tempering::geometric(0.1, 2) };
/// let run = tempering.run(&Hmc::new(0.7, 4), &start, &end, vec![vec![0.0f64]; 4])?;
/// let ratio = run.rung_energies()?.stepping_stone();
/// let log_z = start.log_partition() + ratio.log_ratio;
/// assert!((log_z - end.log_partition()).abs() < 5.0 * ratio.std_error);
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RungEnergies {
    betas: Vec<f64>,
    /// `[chain, draw]` of each rung.
    slopes: Vec<Array2<f64>>,
    /// Whether draw `t` of chain `c` comes from the same sweep on every rung.
    coupled: bool,
}

/// `ln` of a ratio of two normalisers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogRatio {
    /// `ln Z` at the last `beta` minus `ln Z` at the first.
    pub log_ratio: f64,
    /// Its standard error, without what a rule of integration leaves.
    pub std_error: f64,
}

impl RungEnergies {
    /// From runs that know nothing of each other: `slopes[k]` is `V`, `[chain, draw]`, of draws at `betas[k]`.
    ///
    /// # Errors
    /// When the ladder is not increasing to 1 with at least two rungs, there is not one array for each of them, one has
    /// fewer than 4 draws a chain, or a number that is not finite.
    pub fn new(betas: Vec<f64>, slopes: Vec<Array2<f64>>) -> Result<Self> {
        check_betas(&betas)?;
        if slopes.len() != betas.len() {
            return Err(Error::shape("arrays of energies", betas.len(), slopes.len()));
        }
        for (k, slopes) in slopes.iter().enumerate() {
            if slopes.nrows() == 0 || slopes.ncols() < 4 {
                let found = format!("{} of {} draws", slopes.nrows(), slopes.ncols());
                return Err(Error::bad_value(
                    format!("chains of rung {k}"),
                    found,
                    "at least 1 of at least 4",
                    "",
                ));
            }
            if let Some(bad) = slopes.iter().find(|v| !v.is_finite()) {
                let fix = "both ends of the path have to be finite at every draw";
                return Err(Error::bad_value(
                    format!("an energy difference of rung {k}"),
                    bad,
                    "finite",
                    fix,
                ));
            }
        }
        Ok(Self { betas, slopes, coupled: false })
    }

    /// Thermodynamic integration with the variances' correction. Its error of integration is of fourth order in the
    /// spacing; compare [`RungEnergies::trapezoid`] to see how far the ladder's spacing matters at all.
    pub fn thermodynamic(&self) -> LogRatio {
        self.integrate(1.0 / 12.0)
    }

    /// Thermodynamic integration by the trapezoid rule, second order in the spacing.
    pub fn trapezoid(&self) -> LogRatio {
        self.integrate(0.0)
    }

    /// `sum (beta' - beta) (m + m') / 2 + correction (beta' - beta)^2 (v' - v)`, negated; `m` the means, `v` the variances.
    fn integrate(&self, correction: f64) -> LogRatio {
        let betas = &self.betas;
        let last = betas.len() - 1;
        self.estimate(|k, slopes| {
            let below = if k > 0 { betas[k] - betas[k - 1] } else { 0.0 };
            let above = if k < last { betas[k + 1] - betas[k] } else { 0.0 };
            let (by_mean, by_variance) =
                (0.5 * (below + above), correction * (below * below - above * above));
            let mean = mean(slopes);
            let part = slopes.mapv(|v| -by_mean * v - by_variance * (v - mean).powi(2));
            (crate::thermodynamic::mean(&part), part)
        })
    }

    /// Stepping stone: each ratio by importance sampling from the rung below. Needs neighbours that overlap; the draws of
    /// the last rung are not used.
    pub fn stepping_stone(&self) -> LogRatio {
        self.estimate(|k, slopes| {
            let Some(next) = self.betas.get(k + 1) else { return (0.0, Array2::zeros(slopes.dim())) };
            let log_factors = slopes.mapv(|v| -(next - self.betas[k]) * v);
            let log_mean = log_sum_exp(log_factors.iter().copied()) - (slopes.len() as f64).ln();
            (log_mean, log_factors.mapv(|f| (f - log_mean).exp()))
        })
    }

    /// The sum over the rungs of what `part` makes of their draws; with it the draws' shares in the error, whose mean
    /// moves as the estimate does.
    fn estimate(&self, part: impl Fn(usize, &Array2<f64>) -> (f64, Array2<f64>)) -> LogRatio {
        let (values, shares): (Vec<f64>, Vec<Array2<f64>>) =
            self.slopes.iter().enumerate().map(|(k, slopes)| part(k, slopes)).unzip();
        let error = |shares: &Array2<f64>| mcse_mean(shares.view()).unwrap_or(f64::NAN);
        let std_error = if self.coupled {
            // Swaps correlate the rungs: sum what belongs to one sweep before looking at its spread.
            let mut sum = Array2::zeros(shares[0].dim());
            shares.iter().for_each(|share| sum += share);
            error(&sum)
        } else {
            shares.iter().map(|share| error(share).powi(2)).sum::<f64>().sqrt()
        };
        LogRatio { log_ratio: values.iter().sum(), std_error }
    }
}

fn mean(values: &Array2<f64>) -> f64 {
    values.sum() / values.len() as f64
}

impl TemperedRun {
    /// The energies on all rungs, for `ln Z`; the errors then allow for the correlation that swaps make.
    ///
    /// # Errors
    /// When they were not kept (`Tempering::keep_slopes`), there are fewer than 4 draws, or one is not finite.
    pub fn rung_energies(&self) -> Result<RungEnergies> {
        let Some(slopes) = &self.slopes else {
            return Err(Error::bad_value("keep_slopes", "false", "true", "set Tempering::keep_slopes"));
        };
        let slopes = slopes.axis_iter(Axis(2)).map(|rung| rung.to_owned()).collect();
        Ok(RungEnergies { coupled: true, ..RungEnergies::new(self.betas.clone(), slopes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discrete::testing::config;
    use crate::{Flat, Gibbs, Hmc, RungSteps, Scan, Tempering, sample_discrete};
    use ebm_core::analytic::{Exact, Gaussian, GaussianMixture};
    use ebm_core::exact::{Boundary, IsingLattice, TransferMatrix};
    use ebm_core::random::{Purpose, Stream};
    use ebm_core::{DiscreteEnergy, Energy};

    fn linear(n: usize) -> Vec<f64> {
        (0..=n).map(|k| k as f64 / n as f64).collect()
    }

    /// From precision 1 to precision 9 in one dimension: `V = 4 x^2`, `ln Z_1 / Z_0 = -ln 3`.
    const EXACT: f64 = -1.098_612_288_668_109_8;

    fn assert_close(found: LogRatio, exact: f64, largest_error: f64, what: &str) {
        let LogRatio { log_ratio, std_error } = found;
        assert!(
            (log_ratio - exact).abs() < 4.5 * std_error,
            "{what}: {log_ratio} +- {std_error}, exact {exact}"
        );
        assert!(std_error < largest_error, "{what}: the test is too weak, standard error {std_error}");
    }

    /// Two values per rung that have exactly its mean and its variance: what is left is the rule's own error.
    #[test]
    fn the_rules_have_their_orders() {
        let error = |n: usize, corrected: bool| {
            let betas = linear(n);
            let rung = |beta: &f64| {
                let precision = 1.0 + 8.0 * beta;
                let (mean, sd) = (4.0 / precision, 4.0 * 2f64.sqrt() / precision);
                Array2::from_shape_fn((1, 4), |(_, t)| mean + if t % 2 == 0 { sd } else { -sd })
            };
            let slopes = betas.iter().map(rung).collect();
            let rungs = RungEnergies::new(betas, slopes).unwrap();
            (if corrected { rungs.thermodynamic() } else { rungs.trapezoid() }).log_ratio - EXACT
        };
        let order = |corrected| (error(40, corrected) / error(80, corrected)).abs().log2();
        assert!((order(false) - 2.0).abs() < 0.05, "{}", order(false));
        assert!((order(true) - 4.0).abs() < 0.1, "{}", order(true));
        assert!(error(20, true).abs() < 0.1 * error(20, false).abs());
    }

    #[test]
    fn independent_draws_of_gaussians_give_the_exact_ratio() {
        let betas = linear(16);
        let rung = |(k, beta): (usize, &f64)| {
            let mut stream = Stream::new(2, Purpose::User, k as u64);
            let precision = 1.0 + 8.0 * beta;
            Array2::from_shape_fn((4, 1000), |_| 4.0 * stream.normal().powi(2) / precision)
        };
        let slopes = betas.iter().enumerate().map(rung).collect();
        let rungs = RungEnergies::new(betas, slopes).unwrap();
        assert_close(rungs.thermodynamic(), EXACT, 0.01, "corrected");
        assert_close(rungs.stepping_stone(), EXACT, 0.01, "stepping stone");
    }

    /// Over 40 repeats the standard errors of correlated draws are those that the estimates show.
    #[test]
    fn standard_errors_are_honest() {
        let betas = linear(6);
        let repeat = |r: u64| {
            let rung = |(k, beta): (usize, &f64)| {
                let mut stream = Stream::new(r, Purpose::User, k as u64);
                let precision = 1.0 + 8.0 * beta;
                let mut x = stream.normal();
                Array2::from_shape_fn((1, 2000), |_| {
                    x = 0.7 * x + 0.51f64.sqrt() * stream.normal();
                    4.0 * x * x / precision
                })
            };
            let rungs =
                RungEnergies::new(betas.clone(), betas.iter().enumerate().map(rung).collect()).unwrap();
            [rungs.thermodynamic(), rungs.stepping_stone()]
        };
        let repeats: Vec<_> = (0..40).map(repeat).collect();
        for method in 0..2 {
            let mean = repeats.iter().map(|r| r[method].log_ratio).sum::<f64>() / 40.0;
            let variance = repeats.iter().map(|r| (r[method].log_ratio - mean).powi(2)).sum::<f64>() / 39.0;
            let reported = repeats.iter().map(|r| r[method].std_error.powi(2)).sum::<f64>() / 40.0;
            // 39 degrees of freedom: 0.27 to 2.4 holds but for 1e-5 on each side.
            assert!((0.27..2.4).contains(&(variance / reported)), "{method}: {}", variance / reported);
        }
    }

    #[test]
    fn an_ising_torus_has_its_log_z() {
        let n = 16;
        let exact = TransferMatrix::new(IsingLattice::new(4, 4, Boundary::Torus, 0.3, 0.1).unwrap()).unwrap();
        let betas = linear(8);
        let rung = |(k, beta): (usize, &f64)| {
            let lattice = IsingLattice::new(4, 4, Boundary::Torus, 0.3 * beta, 0.1 * beta).unwrap();
            let kernel = Gibbs(Scan::Systematic);
            let run =
                sample_discrete(&kernel, &lattice, &vec![vec![0; n]; 16], &config(200, 20, 1, k as u64))
                    .unwrap();
            Array2::from_shape_fn((16, 200), |(c, t)| {
                let x = run.draws.slice(ndarray::s![c, t, ..]).to_vec();
                DiscreteEnergy::energy(exact.lattice(), &x)
            })
        };
        let slopes = betas.iter().enumerate().map(rung).collect();
        let rungs = RungEnergies::new(betas, slopes).unwrap();
        let exact = exact.log_z() - n as f64 * std::f64::consts::LN_2;
        assert_close(rungs.thermodynamic(), exact, 0.05, "corrected");
        assert_close(rungs.stepping_stone(), exact, 0.05, "stepping stone");
    }

    /// Tempering from a wide law to separated modes, and plain tempering of a Gaussian from `beta = 0.1`.
    #[test]
    fn a_tempered_run_gives_log_z() {
        let start = Gaussian::diagonal(vec![0.0], vec![30.0]).unwrap();
        let end = GaussianMixture::new(vec![0.3, 0.7], vec![vec![-5.0], vec![5.0]], vec![1.0; 2]).unwrap();
        let tempering = Tempering {
            betas: linear(8),
            steps: RungSteps::Same,
            n_draws: 1500,
            keep_slopes: true,
            seed: 4,
            ..Tempering::geometric(0.1, 2)
        };
        let run = tempering.run(&Hmc::new(1.0, 4), &start, &end, vec![vec![5.0f64]; 8]).unwrap();
        let rungs = run.rung_energies().unwrap();
        assert_close(rungs.stepping_stone(), -start.log_partition(), 0.05, "mixture");
        // Of this coarse ladder the rule's own error is left, and it is smaller with the correction.
        let off = |ratio: LogRatio| (ratio.log_ratio + start.log_partition()).abs();
        assert!(off(rungs.thermodynamic()) < off(rungs.trapezoid()));

        let law = Gaussian::diagonal(vec![1.0, 2.0], vec![0.5, 2.0]).unwrap();
        let tempering = Tempering { n_draws: 1500, keep_slopes: true, ..Tempering::geometric(0.1, 8) };
        let run = tempering.run(&Hmc::new(0.7, 4), &Flat, &law, vec![vec![0.0; 2]; 4]).unwrap();
        // Z(beta) = Z(1) / beta in two dimensions.
        let rungs = run.rung_energies().unwrap();
        assert_close(rungs.stepping_stone(), 0.1f64.ln(), 0.05, "Gaussian");
        assert_close(rungs.thermodynamic(), 0.1f64.ln(), 0.05, "Gaussian");
        assert_eq!(run.slopes.unwrap().dim(), (4, 1500, 8));
        assert!(law.energy(&vec![1.0, 2.0]).unwrap() == 0.0);
    }

    #[test]
    fn bad_input_is_an_error() {
        let ones = || Array2::ones((1, 4));
        let text = |betas: &[f64], slopes: Vec<Array2<f64>>| {
            RungEnergies::new(betas.to_vec(), slopes).unwrap_err().to_string()
        };
        assert!(text(&[1.0], vec![ones()]).starts_with("number of betas = 1: must be at least 2"));
        assert!(
            text(&[0.5, 0.5, 1.0], vec![ones(); 3])
                .starts_with("betas[1] = 0.5: must be above betas[0] = 0.5")
        );
        assert_eq!(text(&[0.0, 1.0], vec![ones()]), "arrays of energies: expected 2, found 1");
        let short = text(&[0.0, 1.0], vec![ones(), Array2::ones((2, 3))]);
        assert_eq!(short, "chains of rung 1 = 2 of 3 draws: must be at least 1 of at least 4");
        let nan = text(&[0.0, 1.0], vec![ones(), ones() * f64::NAN]);
        assert!(nan.starts_with("an energy difference of rung 1 = NaN: must be finite"), "{nan}");
        let law = Gaussian::standard(1).unwrap();
        let tempering = Tempering { n_draws: 5, warm_up_rounds: 0, ..Tempering::geometric(0.1, 2) };
        let run = tempering.run(&Hmc::new(0.5, 2), &Flat, &law, vec![vec![0.0]]).unwrap();
        assert!(
            run.rung_energies().unwrap_err().to_string().starts_with("keep_slopes = false: must be true")
        );
    }
}
