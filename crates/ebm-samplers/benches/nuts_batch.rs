//! NUTS on a tensor of 1,024 chains: what a leapfrog costs beside the gradient it needs, and effective draws a second.
//!
//! `cargo bench -p ebm-samplers --features torch --bench nuts_batch`. Words after `--` choose targets. Each chain adapts
//! its own step size towards 0.8 before the clock starts.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[cfg(feature = "torch")]
mod batch {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Instant;

    use ebm_core::analytic::Gaussian;
    use ebm_core::random::{Purpose, Stream};
    use ebm_core::torch::TensorRng;
    use ebm_core::{Energy, GradEnergy, Result, TensorScalar};
    use ebm_metrics::chains::ess_mean;
    use ebm_samplers::{DualAveraging, Kernel, Nuts, Observer, StepInfo};
    use ndarray::{Array2, Array3, s};
    use tch::{Device, Kind, Tensor};

    const CHAINS: i64 = 1024;

    /// Counts the gradient calls of an energy and the chains in them.
    struct Counted<E> {
        energy: E,
        calls: AtomicU64,
        rows: AtomicU64,
    }

    impl<E: GradEnergy<Tensor>> Energy<Tensor> for Counted<E> {
        fn energy(&self, x: &Tensor) -> Result<TensorScalar> {
            self.energy.energy(x)
        }
    }

    impl<E: GradEnergy<Tensor>> GradEnergy<Tensor> for Counted<E> {
        fn energy_grad(&self, x: &Tensor, grad: &mut Tensor) -> Result<TensorScalar> {
            self.calls.fetch_add(1, Relaxed);
            self.rows.fetch_add(x.size()[0] as u64, Relaxed);
            self.energy.energy_grad(x, grad)
        }
    }

    /// Logistic regression with a standard normal prior; 500 made-up observations of 25 features.
    struct Logistic {
        features: Tensor,
        transposed: Tensor,
        labels: Tensor,
    }

    impl Logistic {
        fn new() -> Self {
            let mut stream = Stream::new(5, Purpose::User, 0);
            let (mut features, mut truth) = (vec![0f32; 500 * 25], vec![0f32; 25]);
            stream.fill_normal(&mut features);
            stream.fill_normal(&mut truth);
            let labels: Vec<f32> = features
                .chunks(25)
                .map(|row| {
                    let logit: f32 = row.iter().zip(&truth).map(|(a, b)| a * b).sum();
                    f32::from(stream.uniform() < 1.0 / (1.0 + (-f64::from(logit)).exp()))
                })
                .collect();
            let features = Tensor::from_slice(&features).view([500, 25]);
            Self {
                transposed: features.transpose(0, 1).contiguous(),
                features,
                labels: Tensor::from_slice(&labels),
            }
        }
    }

    impl Energy<Tensor> for Logistic {
        fn energy(&self, x: &Tensor) -> Result<TensorScalar> {
            self.energy_grad(x, &mut Tensor::new())
        }
    }

    impl GradEnergy<Tensor> for Logistic {
        fn energy_grad(&self, x: &Tensor, grad: &mut Tensor) -> Result<TensorScalar> {
            let logits = x.f_matmul(&self.transposed)?;
            *grad = x.f_add(&logits.f_sigmoid()?.f_sub(&self.labels)?.f_matmul(&self.features)?)?;
            let sum = |t: Tensor| t.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            let likelihood = sum(logits.f_softplus()?)?.f_sub(&logits.f_matmul(&self.labels)?)?;
            Ok(TensorScalar::Each(likelihood.f_add(&sum(x.f_square()?)?.f_mul_scalar(0.5)?)?))
        }
    }

    fn case<E: GradEnergy<Tensor>>(name: &str, energy: E, dim: i64, step_size: f64, n_draws: usize) {
        let smoke = std::env::var_os("EBM_BENCH_SMOKE").is_some();
        let (warm_up, n_draws) = if smoke { (3, 3) } else { (200, n_draws) };
        let energy = Counted { energy, calls: AtomicU64::new(0), rows: AtomicU64::new(0) };
        let kernel = Nuts::new(step_size);
        let mut rng = TensorRng::new(1, Purpose::Chain);
        let x =
            TensorRng::new(1, Purpose::Start).normal(&[CHAINS, dim], 1.0, Kind::Float, Device::Cpu).unwrap();
        let mut state = kernel.init(&energy, x).unwrap();
        let mut adapt = DualAveraging::new(0.8, warm_up).unwrap();
        for _ in 0..warm_up {
            let info = kernel.advance(&energy, &mut state, &mut rng).unwrap();
            adapt.after_step(&mut state, &info).unwrap();
        }
        let n_gradients = if smoke { 2 } else { 300 };
        let (mut grad, start) = (Tensor::new(), Instant::now());
        for _ in 0..n_gradients {
            energy.energy.energy_grad(&state.x, &mut grad).unwrap();
        }
        let gradient = start.elapsed().as_secs_f64() / f64::from(n_gradients);

        energy.calls.store(0, Relaxed);
        energy.rows.store(0, Relaxed);
        let (mut draws, mut useful, mut accept) = (Vec::new(), Vec::new(), Vec::new());
        let start = Instant::now();
        for _ in 0..n_draws {
            let info = kernel.advance(&energy, &mut state, &mut rng).unwrap();
            draws.push(state.x.shallow_clone());
            accept.push(info.accept_prob().unwrap().clone());
            useful.push(info.n_leapfrogs);
        }
        let seconds = start.elapsed().as_secs_f64();
        let mean = |all: &[TensorScalar]| {
            let sum: f64 = all
                .iter()
                .map(|t| match t {
                    TensorScalar::Each(t) => t.mean(Kind::Double).double_value(&[]),
                    TensorScalar::Same(v) => *v,
                })
                .sum();
            sum / all.len() as f64
        };
        let useful = mean(&useful) * CHAINS as f64 * n_draws as f64;
        let (calls, rows) = (energy.calls.load(Relaxed) as f64, energy.rows.load(Relaxed) as f64);
        let flat: Vec<f32> = Vec::try_from(Tensor::stack(&draws, 1).flatten(0, -1)).unwrap();
        let draws = Array3::from_shape_vec((CHAINS as usize, n_draws, dim as usize), flat).unwrap();
        let ess = |i: usize| ess_mean(draws.slice(s![.., .., i]).mapv(f64::from).view()).unwrap_or(f64::NAN);
        let of_square = |i: usize| {
            let squares: Array2<f64> = draws.slice(s![.., .., i]).mapv(|x| f64::from(x).powi(2));
            ess_mean(squares.view()).unwrap_or(f64::NAN)
        };
        let probes: Vec<usize> = (0..dim as usize).step_by(1 + dim as usize / 10).collect();
        let least = probes.iter().map(|i| ess(*i).min(of_square(*i))).fold(f64::INFINITY, f64::min);
        println!(
            "{name}: {:.0} us a lock-step leapfrog, gradient alone {:.0} us; {:.1} leapfrogs a draw, {:.1} calls a draw, \
             {:.0} chains a call; {:.0}% of the leapfrogs used; acceptance {:.2}; {:.3} us per chain and leapfrog used \
             (gradient {:.3}); ESS (least of means and squares) {least:.0} = {:.4} per leapfrog, {:.0}/s",
            seconds / calls * 1e6,
            gradient * 1e6,
            useful / CHAINS as f64 / n_draws as f64,
            calls / n_draws as f64,
            rows / calls,
            100.0 * useful / rows,
            mean(&accept),
            seconds / useful * 1e6,
            gradient / CHAINS as f64 * 1e6,
            least / useful,
            least / seconds,
        );
    }

    pub fn run() {
        let threads = std::env::var("EBM_BENCH_THREADS").ok().and_then(|v| v.parse().ok()).unwrap_or(2);
        tch::set_num_threads(threads);
        let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
        let chosen = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
        if chosen("correlated normal") {
            let dim = 100usize;
            let covariance =
                (0..dim * dim).map(|k| 0.9f64.powi((k / dim).abs_diff(k % dim) as i32)).collect();
            case(
                "correlated normal, 100-d",
                Gaussian::new(vec![0.0; dim], covariance).unwrap(),
                dim as i64,
                0.2,
                100,
            );
        }
        if chosen("logistic regression") {
            case("logistic regression, 500 x 25", Logistic::new(), 25, 0.1, 200);
        }
    }
}

fn main() {
    #[cfg(feature = "torch")]
    batch::run();
}
