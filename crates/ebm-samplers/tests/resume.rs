//! A sampler that is saved and restored, in the warm-up or after it, draws what an uninterrupted one draws; and one
//! chain's trouble leaves the others alone.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use ebm_core::analytic::{Funnel, Gaussian};
use ebm_core::{Block, Host, RiemannianMetric};
use ebm_samplers::{
    Baoab, Directions, DrawSink, EllipticalSlice, Hmc, Kernel, Mala, Mclmc, MclmcAdjusted, MetricChoice,
    Nuts, Progress, Rmhmc, Run, SampleConfig, Sampler, Sghmc, Slice, Starts, Ula, Warning, sample,
    sample_into,
};

fn config(metric: MetricChoice, target_accept: Option<f64>) -> SampleConfig {
    SampleConfig { n_draws: 40, burn_in: 160, thin: 2, seed: 3, target_accept, metric, ..Default::default() }
}

/// Save after `cut` steps, drop the sampler, restore into a new one and run to the end.
fn interrupted<K, S>(
    kernel: &K,
    law: &Gaussian,
    starts: &impl Fn() -> S,
    config: &SampleConfig,
    cut: u64,
) -> Run
where
    S: Starts<K, Gaussian>,
    K: Kernel<S::Point, Gaussian> + Debug,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sampler");
    let mut first = Sampler::new(kernel, law, starts(), config).unwrap();
    first.run_to(cut);
    first.save(&path).unwrap();
    drop(first);
    let mut second = Sampler::new(kernel, law, starts(), config).unwrap();
    second.restore(&path).unwrap();
    second.run();
    assert!(second.is_done());
    second.finish().unwrap()
}

fn same_after_any_cut<K, S>(kernel: &K, starts: impl Fn() -> S, config: &SampleConfig)
where
    S: Starts<K, Gaussian>,
    K: Kernel<S::Point, Gaussian> + Debug,
{
    let law = Gaussian::new(vec![1.0, -2.0], vec![2.0, 0.9, 0.9, 0.5]).unwrap();
    let whole = sample(kernel, &law, starts(), config).unwrap();
    for cut in [0, 1, 110, 160, 201, 240] {
        let run = interrupted(kernel, &law, &starts, config, cut);
        assert!(whole.draws == run.draws, "{kernel:?} cut at {cut}");
        assert_eq!(format!("{}", whole.summary), format!("{}", run.summary), "{kernel:?} cut at {cut}");
    }
}

/// `diag(1 + x_0^2, 4)`.
#[derive(Debug)]
struct Slanted;

impl RiemannianMetric for Slanted {
    fn metric(&self, x: &[f64], g: &mut [f64]) {
        g.copy_from_slice(&[1.0 + x[0] * x[0], 0.0, 0.0, 4.0]);
    }
    fn metric_derivatives(&self, x: &[f64], dg: &mut [f64]) {
        dg.fill(0.0);
        dg[0] = 2.0 * x[0];
    }
}

#[test]
fn every_kernel_resumes_to_the_same_draws() {
    let vectors = || vec![vec![0.3f64, -1.0], vec![2.0, 0.0], vec![0.0, 0.0]];
    let blocks = || Block::from_rows(2, &[0.25f32; 2 * 70]).unwrap();
    let plain = config(MetricChoice::Unit, None);
    same_after_any_cut(&Ula::new(0.1), vectors, &plain);
    same_after_any_cut(&Ula::new(0.1), blocks, &plain);
    same_after_any_cut(&Baoab::new(0.2, 1.0), vectors, &plain);
    same_after_any_cut(&Baoab::new(0.2, 1.0), blocks, &plain);
    same_after_any_cut(&Sghmc::new(0.02, 0.1), blocks, &plain);
    same_after_any_cut(&Mclmc::new(0.3, 1.5), vectors, &plain);
    same_after_any_cut(&Mclmc::new(0.3, 1.5), blocks, &plain);
    same_after_any_cut(&Rmhmc::new(Slanted, 0.5, 2), vectors, &config(MetricChoice::Unit, Some(0.8)));
    let elliptical = EllipticalSlice::new(vec![0.0, 1.0], &[1.0, 0.5, 0.5, 2.0]).unwrap();
    same_after_any_cut(&elliptical, vectors, &plain);
    same_after_any_cut(&elliptical, vectors, &config(MetricChoice::Unit, Some(0.8)));
    for metric in [MetricChoice::Unit, MetricChoice::Diagonal, MetricChoice::Dense] {
        let adapted = config(metric, Some(0.8));
        same_after_any_cut(&Slice::new(1.0), vectors, &adapted);
        same_after_any_cut(&Slice::new(1.0).directions(Directions::Random), vectors, &adapted);
        same_after_any_cut(&Mala::new(0.5), vectors, &adapted);
        same_after_any_cut(&Hmc::new(0.3, 4), vectors, &adapted);
        same_after_any_cut(&Hmc::new(0.3, 4), blocks, &adapted);
        same_after_any_cut(&Nuts::new(0.3), vectors, &adapted);
        same_after_any_cut(&MclmcAdjusted::new(0.5, 3), vectors, &adapted);
        same_after_any_cut(&MclmcAdjusted::new(0.5, 3), blocks, &adapted);
    }
    same_after_any_cut(
        &Hmc::new(0.3, 4),
        vectors,
        &config(MetricChoice::FixedDiagonal(vec![2.0, 0.5]), None),
    );
}

#[test]
fn a_restore_refuses_what_does_not_belong() {
    let law = Gaussian::standard(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sampler");
    let (kernel, start) = (Hmc::new(0.3, 4), || vec![vec![0.0f64; 2]]);
    let plain = config(MetricChoice::Unit, None);
    let mut sampler = Sampler::new(&kernel, &law, start(), &plain).unwrap();
    sampler.run_to(10);
    sampler.save(&path).unwrap();
    let refused = |kernel: &Hmc, config: &SampleConfig| {
        Sampler::new(kernel, &law, start(), config).unwrap().restore(&path).unwrap_err().to_string()
    };
    let text = refused(&Hmc::new(0.4, 4), &plain);
    assert!(text.contains("0.3") && text.contains("0.4") && text.contains("settings"), "{text}");
    assert!(refused(&kernel, &SampleConfig { seed: 4, ..plain.clone() }).contains("seed: 4"));
    std::fs::write(&path, b"not a sampler").unwrap();
    assert!(refused(&kernel, &plain).contains("a saved sampler"));
}

#[test]
fn a_stopped_run_keeps_its_draws_and_goes_on() {
    let law = Gaussian::standard(2).unwrap();
    let (kernel, starts) = (Hmc::new(0.3, 4), || vec![vec![0.0f64; 2]; 2]);
    let stopping = Progress::new(|done, _| done < 500);
    let config = SampleConfig { burn_in: 50, n_draws: 300, progress: Some(stopping), ..Default::default() };
    let run = sample(&kernel, &law, starts(), &config).unwrap();
    let n_draws = run.draws.array().dim().1;
    assert!((50..300).contains(&n_draws), "{n_draws}");
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::Interrupted { of: 300, .. })));
    let whole = sample(&kernel, &law, starts(), &SampleConfig { progress: None, ..config.clone() }).unwrap();
    assert_eq!(run.draws.array(), whole.draws.array().slice(ndarray::s![.., ..n_draws, ..]));
}

/// Saved between two draws: a divergence since the first of them still belongs to the second.
#[test]
fn a_divergence_between_draws_is_not_forgotten() {
    let walled = Host::value_grad(1, |x: &[f64], g: &mut [f64]| {
        g[0] = x[0];
        if x[0].abs() > 1.0 { f64::NAN } else { 0.5 * x[0] * x[0] }
    });
    let (kernel, starts) = (Hmc::new(0.3, 4), || vec![vec![0.0f64]; 5]);
    let config = SampleConfig { n_draws: 20, burn_in: 0, thin: 3, seed: 1, ..Default::default() };
    let whole = sample(&kernel, &walled, starts(), &config).unwrap();
    let flags = whole.draws.statistic("diverging").unwrap();
    assert!(flags.iter().any(|f| *f == 1.0) && flags.iter().any(|f| *f == 0.0));
    let folder = tempfile::tempdir().unwrap();
    for cut in 1..30 {
        let path = folder.path().join(cut.to_string());
        let mut first = Sampler::new(&kernel, &walled, starts(), &config).unwrap();
        first.run_to(cut);
        first.save(&path).unwrap();
        let mut second = Sampler::new(&kernel, &walled, starts(), &config).unwrap();
        second.restore(&path).unwrap();
        second.run();
        assert_eq!(second.finish().unwrap().draws, whole.draws, "cut at {cut}");
    }
}

/// Chain 2 starts where the energy panics.
#[test]
fn a_chain_that_panics_leaves_the_others_alone() {
    let trap = Host::value_grad(1, |x: &[f64], g: &mut [f64]| {
        assert!(x[0] < 50.0, "there is no energy at {}", x[0].round());
        g[0] = x[0];
        0.5 * x[0] * x[0]
    });
    let starts = vec![vec![0.0f64], vec![1.0], vec![100.0], vec![-1.0]];
    let config = SampleConfig { n_draws: 20, burn_in: 0, seed: 9, ..Default::default() };
    let run = sample(&Hmc::new(0.3, 4), &trap, starts.clone(), &config).unwrap();
    assert_eq!(run.draws.array().dim(), (3, 20, 1));
    let [failure] = run.summary.failures.as_slice() else { panic!("one failure") };
    assert_eq!((failure.chains.clone(), failure.seed), (2..3, 9));
    let text = run.summary.to_string();
    assert!(
        text.contains("chain 2 (seed 9) ended after 0 steps: panicked: there is no energy at 100"),
        "{text}"
    );
    // The survivors are what they are without it.
    let alone = sample(&Hmc::new(0.3, 4), &trap, starts[..2].to_vec(), &config).unwrap();
    assert_eq!(run.draws.array().slice(ndarray::s![..2, .., ..]), alone.draws.array());
    let error = sample(&Hmc::new(0.3, 4), &trap, vec![vec![100.0f64]], &config).unwrap_err().to_string();
    assert!(error.starts_with("chain 0 (seed 9) ended after 0 steps"), "{error}");
}

/// What is wrong is said: divergences with their places, chains that do not agree, draws that are not numbers.
#[test]
fn a_summary_warns_in_plain_words() {
    let funnel = Funnel::new(3).unwrap();
    let config = SampleConfig { n_draws: 500, burn_in: 100, target_accept: Some(0.6), ..Default::default() };
    let run = sample(&Nuts::new(0.5), &funnel, vec![vec![0.5f64; 3]; 4], &config).unwrap();
    let n: u64 = run.summary.n_diverged.iter().sum();
    assert!(n > 0 && run.summary.divergences.len() as u64 == n.min(400));
    let diverging = run.draws.statistic("diverging").unwrap();
    assert_eq!(diverging.sum() as u64, n);
    for d in &run.summary.divergences {
        assert_eq!(diverging[[d.chain, d.draw]], 1.0);
        assert_eq!(run.draws.array().slice(ndarray::s![d.chain, d.draw, ..]).to_vec(), d.position);
    }
    assert!(run.summary.to_string().contains("diverged"), "{}", run.summary);

    let law = Gaussian::standard(1).unwrap();
    let apart = vec![vec![0.0f64], vec![1e4]];
    let short = SampleConfig { n_draws: 50, burn_in: 0, ..Default::default() };
    let run = sample(&Mala::new(0.1), &law, apart, &short).unwrap();
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::RHat { coordinate: 0, .. })));
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::Ess { coordinate: 0, .. })));

    let steep = Gaussian::new(vec![0.0], vec![1e-3]).unwrap();
    let run = sample(&Ula::new(1.0), &steep, vec![vec![1.0f64]], &config_of(600)).unwrap();
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::NotFinite { n_chains: 1, .. })));
    let good = SampleConfig { n_draws: 2000, ..SampleConfig::adaptive() };
    let run = sample(&Nuts::new(0.1), &law, vec![vec![0.0f64]; 4], &good).unwrap();
    assert!(run.summary.warnings.is_empty(), "{}", run.summary);
    assert!(run.summary.e_bfmi.iter().all(|v| *v > 0.7));
}

fn config_of(n_draws: usize) -> SampleConfig {
    SampleConfig { n_draws, burn_in: 0, ..Default::default() }
}

/// The statistics that a sink gets are those that memory keeps.
#[test]
fn a_sink_gets_the_statistics() {
    #[derive(Default)]
    struct Rows(Vec<f64>, Vec<&'static str>, usize);
    impl DrawSink for Rows {
        fn write(&mut self, _draw: &[f64]) -> ebm_core::Result<()> {
            Ok(())
        }
        fn write_statistics(&mut self, names: &[&'static str], values: &[f64]) -> ebm_core::Result<()> {
            self.1 = names.to_vec();
            self.0.extend_from_slice(values);
            Ok(())
        }
        fn flush(&mut self) -> ebm_core::Result<()> {
            self.2 += 1;
            assert_eq!(self.0.len(), 30 * 7, "{:?}", self.1);
            Ok(())
        }
    }
    let law = Gaussian::standard(2).unwrap();
    let config = SampleConfig { n_draws: 30, burn_in: 20, target_accept: Some(0.8), ..Default::default() };
    let run = sample(&Nuts::new(0.3), &law, vec![vec![0.0f64; 2]; 2], &config).unwrap();
    let names: Vec<&str> = run.draws.statistics().map(|(name, _)| name).collect();
    assert_eq!(names, ["lp", "energy", "acceptance_rate", "diverging", "tree_depth", "n_steps", "step_size"]);
    let lp = run.draws.statistic("lp").unwrap();
    for (c, t) in [(0, 0), (1, 29)] {
        let x = run.draws.array().slice(ndarray::s![c, t, ..]).to_vec();
        assert!((lp[[c, t]] + 0.5 * (x[0] * x[0] + x[1] * x[1])).abs() < 1e-12);
    }
    sample_into(&Nuts::new(0.3), &law, vec![vec![0.0f64; 2]; 2], &config, |_| Rows::default()).unwrap();
}

#[cfg(feature = "torch")]
mod on_tensors {
    use super::*;
    use ebm_core::torch::TensorRng;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn every_kernel_resumes_to_the_same_draws() {
        tch::set_num_threads(1);
        for kind in [Kind::Float, Kind::Double] {
            let purpose = ebm_core::random::Purpose::Start;
            let starts = || TensorRng::new(0, purpose).normal(&[5, 2], 1.0, kind, Device::Cpu).unwrap();
            let plain = config(MetricChoice::Unit, None);
            same_after_any_cut::<_, Tensor>(&Ula::new(0.1), starts, &plain);
            same_after_any_cut::<_, Tensor>(&Baoab::new(0.2, 1.0), starts, &plain);
            for metric in [MetricChoice::Unit, MetricChoice::Diagonal, MetricChoice::Dense] {
                same_after_any_cut::<_, Tensor>(&Hmc::new(0.3, 4), starts, &config(metric, Some(0.8)));
            }
        }
    }
}
