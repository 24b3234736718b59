//! The discrete driver: draws for ever the same, saved and restored in between or not; one chain's trouble leaves the
//! others alone; and a summary that says what is wrong.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use ebm_core::exact::{Boundary, IsingLattice};
use ebm_core::{Colouring, DiscreteEnergy, PottsLattice, Rbm, RelaxedEnergy, Schedule};
use ebm_samplers::{
    BlockGibbs, Checkerboard, DiscreteKernel, DiscreteRun, DiscreteSampler, Dmala, Dula, Gibbs,
    GibbsWithGradients, MetricChoice, Progress, RbmGibbs, SampleConfig, Scan, SwendsenWang, Warning, Wolff,
    sample_discrete,
};

fn lattice() -> IsingLattice {
    IsingLattice::new(4, 6, Boundary::Torus, 0.3, 0.1).unwrap()
}

fn potts() -> PottsLattice {
    PottsLattice::new(4, 4, Boundary::Torus, 3, 0.7).unwrap()
}

fn rbm() -> Rbm {
    let weights = (0..12).map(|i| (f64::from(i) - 5.5) * 0.3).collect();
    Rbm::new(weights, vec![0.1, -0.2, 0.3, -0.4], vec![0.2, 0.0, -0.1]).unwrap()
}

fn starts<E: DiscreteEnergy>(energy: &E) -> Vec<Vec<u8>> {
    let state = |i: usize| (0..energy.n_variables()).map(|j| ((i + j) % energy.n_states()) as u8).collect();
    (0..3).map(state).collect()
}

fn config() -> SampleConfig {
    SampleConfig { n_draws: 40, burn_in: 20, thin: 2, seed: 7, ..Default::default() }
}

/// Save after `cut` steps, drop the sampler, restore into a new one and run to the end.
fn interrupted<K, E>(kernel: &K, energy: &E, cut: u64) -> DiscreteRun
where
    E: DiscreteEnergy,
    K: DiscreteKernel<E> + Debug + Sync,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sampler");
    let mut first = DiscreteSampler::new(kernel, energy, &starts(energy), &config()).unwrap();
    first.run_to(cut);
    first.save(&path).unwrap();
    drop(first);
    let mut second = DiscreteSampler::new(kernel, energy, &starts(energy), &config()).unwrap();
    second.restore(&path).unwrap();
    assert!(!second.is_done());
    second.run();
    assert!(second.is_done());
    second.finish().unwrap()
}

/// The draws have this hash, taken when the kernel was published, and no cut changes them or what is said of them.
fn same_for_ever<K, E>(kernel: &K, energy: &E, hash: u64)
where
    E: DiscreteEnergy,
    K: DiscreteKernel<E> + Debug + Sync,
{
    let whole = sample_discrete(kernel, energy, &starts(energy), &config()).unwrap();
    let fnv = |hash: u64, x: &u8| (hash ^ u64::from(*x)).wrapping_mul(0x100_0000_01b3);
    let found = whole.draws.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    assert_eq!(found, hash, "{kernel:?}: {found:#x}");
    let lp = whole.statistic("lp").unwrap();
    for ((chain, draw), lp) in lp.indexed_iter() {
        let x = whole.draws.slice(ndarray::s![chain, draw, ..]).to_vec();
        assert_eq!(-energy.energy(&x), *lp, "{kernel:?}");
    }
    let text = |run: &DiscreteRun| {
        let statistics: Vec<_> = run.statistics().collect();
        format!("{} {:?} {statistics:?}", run.summary, run.summary.acceptance)
    };
    for cut in [0, 1, 20, 33, 60] {
        let run = interrupted(kernel, energy, cut);
        assert!(whole.draws == run.draws, "{kernel:?} cut at {cut}");
        assert_eq!(text(&whole), text(&run), "{kernel:?} cut at {cut}");
    }
}

#[test]
fn every_kernel_resumes_to_the_same_draws() {
    let (lattice, potts, rbm) = (lattice(), potts(), rbm());
    same_for_ever(&Gibbs(Scan::Systematic), &lattice, 0xebe7_0d4f_9bcf_6248);
    same_for_ever(&Gibbs(Scan::Random), &potts, 0x5dcb_d502_cfe8_45cc);
    same_for_ever(&BlockGibbs::new(Colouring::of(&lattice).unwrap()), &lattice, 0x3af5_ca18_a227_453c);
    same_for_ever(&RbmGibbs, &rbm, 0x89d2_06cd_73e3_94c3);
    same_for_ever(&GibbsWithGradients, &lattice, 0x46a2_8e3c_69c6_bc3d);
    same_for_ever(&Dula::new(0.4), &rbm, 0x5481_e28a_0535_d535);
    same_for_ever(&Dmala::new(0.4), &lattice, 0x7376_cb15_a8e7_30b3);
    same_for_ever(&Checkerboard::new(2), &lattice, 0x4c51_9edf_02aa_542d);
    same_for_ever(&Checkerboard::new(2), &potts, 0x3aeb_63b9_467f_54a5);
    same_for_ever(&SwendsenWang, &potts, 0xf6f7_642b_d239_a63c);
    same_for_ever(&Wolff, &lattice, 0xd6c3_1c5e_7c43_5fe0);
}

/// A schedule goes on where it stood.
#[test]
fn schedules_resume() {
    fn check<K: DiscreteKernel<IsingLattice> + Debug + Sync>(kernel: &K) {
        let whole = sample_discrete(kernel, &lattice(), &starts(&lattice()), &config()).unwrap();
        assert_eq!(interrupted(kernel, &lattice(), 50).draws, whole.draws);
    }
    let schedule = || Schedule::cosine(2.0, 0.1, 100);
    check(&Dula::new(schedule()));
    check(&Dmala::new(schedule()));
}

#[test]
fn a_restore_refuses_what_does_not_belong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sampler");
    let lattice = lattice();
    let kernel = Dmala::new(0.3);
    let mut sampler = DiscreteSampler::new(&kernel, &lattice, &starts(&lattice), &config()).unwrap();
    sampler.run_to(10);
    sampler.save(&path).unwrap();
    let refused = |kernel: Dmala, config: &SampleConfig| {
        let mut other = DiscreteSampler::new(&kernel, &lattice, &starts(&lattice), config).unwrap();
        other.restore(&path).unwrap_err().to_string()
    };
    let text = refused(Dmala::new(0.4), &config());
    assert!(text.contains("0.3") && text.contains("0.4") && text.contains("settings"), "{text}");
    assert!(refused(Dmala::new(0.3), &SampleConfig { seed: 8, ..config() }).contains("seed: 8"));
    let wider = IsingLattice::new(4, 8, Boundary::Torus, 0.3, 0.1).unwrap();
    let mut other = DiscreteSampler::new(&kernel, &wider, &starts(&wider), &config()).unwrap();
    assert!(other.restore(&path).unwrap_err().to_string().contains("24 variables"));
}

#[test]
fn settings_of_continuous_points_are_errors() {
    let text = |config: SampleConfig| {
        let run = sample_discrete(&Gibbs(Scan::Random), &lattice(), &starts(&lattice()), &config);
        run.unwrap_err().to_string()
    };
    assert!(text(SampleConfig::adaptive()).starts_with("target_accept = set: must be unset for discrete"));
    let metric = SampleConfig { metric: MetricChoice::FixedDiagonal(vec![1.0; 24]), ..config() };
    assert!(text(metric).starts_with("metric = set: must be unset for discrete variables"));
    assert!(text(SampleConfig { n_draws: 0, ..config() }).starts_with("n_draws = 0: must be at least 1"));
}

#[test]
fn a_stopped_run_keeps_its_draws_and_goes_on() {
    let (lattice, kernel) = (lattice(), Gibbs(Scan::Systematic));
    let stopping = Progress::new(|done, _| done < 600);
    let config = SampleConfig { burn_in: 50, n_draws: 300, progress: Some(stopping), ..Default::default() };
    let whole_config = SampleConfig { progress: None, ..config.clone() };
    let whole = sample_discrete(&kernel, &lattice, &starts(&lattice), &whole_config).unwrap();
    let mut sampler = DiscreteSampler::new(&kernel, &lattice, &starts(&lattice), &config).unwrap();
    sampler.run();
    assert!(!sampler.is_done());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sampler");
    sampler.save(&path).unwrap();
    let run = sampler.finish().unwrap();
    let n_draws = run.draws.dim().1;
    assert!((50..300).contains(&n_draws), "{n_draws}");
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::Interrupted { of: 300, .. })));
    assert_eq!(run.draws, whole.draws.slice(ndarray::s![.., ..n_draws, ..]));
    let mut later = DiscreteSampler::new(&kernel, &lattice, &starts(&lattice), &whole_config).unwrap();
    later.restore(&path).unwrap();
    later.run();
    assert_eq!(later.finish().unwrap().draws, whole.draws);
    let at_once = SampleConfig { progress: Some(Progress::new(|_, _| false)), burn_in: 100, ..whole_config };
    assert!(sample_discrete(&kernel, &lattice, &starts(&lattice), &at_once).unwrap_err().is_stopped());
}

/// A lattice whose energy panics where every spin is up, and whose conditionals panic one flip away.
struct Trap {
    lattice: IsingLattice,
}

impl DiscreteEnergy for Trap {
    fn n_variables(&self) -> usize {
        self.lattice.n_variables()
    }
    fn n_states(&self) -> usize {
        2
    }
    fn energy(&self, x: &[u8]) -> f64 {
        assert!(x.contains(&0), "there is no energy at {}", x[0]);
        DiscreteEnergy::energy(&self.lattice, x)
    }
    fn local_energies(&self, x: &mut [u8], i: usize, out: &mut [f64]) {
        let ones = x.iter().filter(|bit| **bit == 1).count();
        assert!(ones + 1 < x.len(), "a state next to the trap");
        self.lattice.local_energies(x, i, out);
    }
}

#[test]
fn a_chain_that_panics_leaves_the_others_alone() {
    // A field that keeps the spins down: no chain gets to the trap by itself.
    let trap = Trap { lattice: IsingLattice::new(4, 6, Boundary::Torus, 0.1, -1.0).unwrap() };
    let all_but_one = (0..24).map(|i| u8::from(i > 0)).collect();
    let starts = vec![vec![0; 24], vec![1; 24], all_but_one, vec![0; 24]];
    let config = SampleConfig { n_draws: 20, burn_in: 0, seed: 9, ..Default::default() };
    let kernel = Gibbs(Scan::Systematic);
    let run = sample_discrete(&kernel, &trap, &starts, &config).unwrap();
    assert_eq!(run.draws.dim(), (2, 20, 24));
    let [at_start, at_first_step] = run.summary.failures.as_slice() else { panic!("two failures") };
    assert_eq!((at_start.chains.clone(), at_start.seed), (1..2, 9));
    assert!(at_start.to_string().ends_with("ended after 0 steps: panicked: there is no energy at 1"));
    assert_eq!(at_first_step.chains, 2..3);
    assert!(at_first_step.message.contains("a state next to the trap"));
    assert!(run.summary.to_string().contains("chain 1 (seed 9) ended"), "{}", run.summary);
    // The survivors are what they are without it.
    let alone = sample_discrete(&kernel, &trap, &starts[..1], &config).unwrap();
    assert_eq!(run.draws.slice(ndarray::s![..1, .., ..]), alone.draws);
    let mut sampler = DiscreteSampler::new(&kernel, &trap, &starts, &config).unwrap();
    sampler.run();
    let folder = tempfile::tempdir().unwrap();
    let text = sampler.save(&folder.path().join("sampler")).unwrap_err().to_string();
    assert!(text.contains("one that did not fail"), "{text}");
    let error = sample_discrete(&kernel, &trap, &starts[1..2], &config).unwrap_err().to_string();
    assert!(error.starts_with("chain 0 (seed 9) ended after 0 steps"), "{error}");
}

/// Two spins without a coupling, the second held up by a field of 40; a wall where asked for.
struct Held {
    wall: bool,
}

impl DiscreteEnergy for Held {
    fn n_variables(&self) -> usize {
        2
    }
    fn n_states(&self) -> usize {
        3
    }
    fn energy(&self, x: &[u8]) -> f64 {
        let held = if x[1] == 1 { 0.0 } else { 80.0 };
        if self.wall && x[0] == 2 { f64::NAN } else { held + 0.5 * f64::from(x[0]) }
    }
}

impl RelaxedEnergy for Held {
    fn relaxed_gradient(&self, _x: &[u8], out: &mut [f64]) {
        out.copy_from_slice(&[0.0, 0.5, 1.0, 80.0, 0.0, 80.0]);
    }
}

#[test]
fn a_summary_has_what_is_known_and_says_what_is_wrong() {
    let starts = vec![vec![0, 1]; 4];
    let config = SampleConfig { n_draws: 1000, burn_in: 20, ..Default::default() };
    let run = sample_discrete(&Gibbs(Scan::Systematic), &Held { wall: false }, &starts, &config).unwrap();
    let summary = &run.summary;
    // Nothing is rejected: there is no acceptance to speak of. A constant has no diagnostics.
    assert!(summary.acceptance.iter().all(|a| a.is_nan()) && run.statistic("acceptance_rate").is_none());
    let text = summary.to_string();
    assert!(!text.contains("NaN") && !text.contains("acceptance"), "{text}");
    let row = text.lines().find(|line| line.starts_with("    1 ")).unwrap();
    assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>(), ["1.0000", "0.0000", "-", "-", "-", "-"]);
    assert!(text.lines().any(|line| line.starts_with("   lp ")), "{text}");
    assert!(summary.warnings.iter().any(|w| matches!(w, Warning::Constant { coordinate: 1 })));
    // E = x_0 / 2: independent draws of both, so the moments are the exact ones to 4.5 standard errors.
    let z: f64 = (0..3).map(|k| (-0.5 * f64::from(k)).exp()).sum();
    let mean: f64 = (0..3).map(|k| f64::from(k) * (-0.5 * f64::from(k)).exp()).sum::<f64>() / z;
    let first = summary.coordinates.as_ref().unwrap().parameters[0];
    assert!((first.mean - mean).abs() < 4.5 * first.mcse_mean, "{first}");
    let lp = summary.lp.unwrap();
    assert!((lp.mean + 0.5 * mean).abs() < 4.5 * lp.mcse_mean, "{lp}");
    assert!(first.r_hat < 1.01 && lp.r_hat < 1.01 && lp.ess_bulk > 2000.0 && summary.warnings.len() == 1);

    // Behind the wall: flagged, with the place, and in words that fit.
    let run = sample_discrete(&GibbsWithGradients, &Held { wall: true }, &starts, &config).unwrap();
    let n: u64 = run.summary.n_diverged.iter().sum();
    assert!(n > 0 && run.statistic("diverging").unwrap().sum() as u64 == n);
    assert_eq!(
        run.summary.divergences.len() as u64,
        run.summary.n_diverged.iter().map(|n| *n.min(&100)).sum::<u64>()
    );
    for d in &run.summary.divergences {
        assert_eq!(run.statistic("diverging").unwrap()[[d.chain, d.draw]], 1.0);
        let x = run.draws.slice(ndarray::s![d.chain, d.draw, ..]).mapv(f64::from);
        assert_eq!(x.to_vec(), d.position);
    }
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::NotReached { .. })));
    let text = run.summary.to_string();
    assert!(text.contains("energy that is no number") && text.contains("acceptance 0."), "{text}");
    assert!(!text.contains("step size NaN"), "{text}");

    // Two halves of a cold lattice do not agree, in the spins; a chain that does not move has no independent energies.
    let cold = IsingLattice::new(6, 6, Boundary::Torus, 1.2, 0.0).unwrap();
    let sides = vec![vec![0; 36], vec![1; 36]];
    let run = sample_discrete(&Gibbs(Scan::Systematic), &cold, &sides, &config).unwrap();
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::RHat { .. })), "{}", run.summary);
    let short = SampleConfig { n_draws: 100, ..config };
    let run = sample_discrete(&Gibbs(Scan::Random), &lattice(), &vec![vec![0; 24]; 2], &short).unwrap();
    assert!(run.summary.warnings.iter().any(|w| matches!(w, Warning::Energy { .. })), "{}", run.summary);
    let quiet = SampleConfig { diagnostics: false, ..short };
    let run = sample_discrete(&Gibbs(Scan::Random), &lattice(), &vec![vec![0; 24]; 2], &quiet).unwrap();
    assert!(run.summary.lp.is_none() && run.summary.coordinates.is_none());
}
