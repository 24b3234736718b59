//! The discrete kernels on laws small enough to enumerate, and on a cold lattice by its transfer matrix.

use std::time::Instant;

use ebm_core::exact::{Boundary, Enumeration, IsingLattice, TransferMatrix};
use ebm_core::random::{Purpose, Stream};
use ebm_core::{Colouring, DiscreteEnergy, GradEnergy, PottsLattice, Rbm, Torch};
use ebm_metrics::chains::{ess_bulk, r_hat};
use ebm_metrics::samples::{Exactness, chi_square, kolmogorov_smirnov, moment_z};
use ebm_samplers::{
    BlockGibbs, Checkerboard, DiscreteKernel, Dmala, Dula, Gibbs, GibbsWithGradients, Kernel, RbmGibbs,
    SampleConfig, Scan, SwendsenWang, Wolff, sample_batch, sample_discrete,
};
use ndarray::{Array2, Axis};
use tch::{Kind, Tensor, nn};

use super::Settings;
use super::cell::Cost;
use super::gallery::Gallery;

/// So many draws, without diagnostics: the gallery has its own.
pub(super) fn config(n_draws: usize, burn_in: usize, thin: usize, seed: u64) -> SampleConfig {
    SampleConfig { n_draws, burn_in, thin, seed, diagnostics: false, ..Default::default() }
}

/// Random states as starts.
fn starts<E: DiscreteEnergy>(energy: &E, n: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut stream = Stream::new(seed, Purpose::Start, 0);
    let mut start = || (0..energy.n_variables()).map(|_| stream.below(energy.n_states()) as u8).collect();
    (0..n).map(|_| start()).collect()
}

/// A law by enumeration: its energy levels with their probabilities, and moments of single and paired variables.
struct Enumerated {
    levels: Vec<(f64, f64)>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Enumerated {
    fn new<E: DiscreteEnergy>(energy: &E) -> anyhow::Result<Self> {
        let (n, k) = (energy.n_variables(), energy.n_states());
        let law = Enumeration::new(n, k, |x| energy.energy(x))?;
        let mut states = Vec::new();
        let (mut first, mut second) = (vec![0.0; n], vec![0.0; n * n]);
        law.for_each_given(&vec![None; n], |x, p| {
            states.push((energy.energy(x), p));
            for i in 0..n {
                first[i] += p * f64::from(x[i]);
                for j in 0..i {
                    second[n * i + j] += p * f64::from(x[i]) * f64::from(x[j]);
                }
            }
        })?;
        states.sort_by(|a, b| a.0.total_cmp(&b.0));
        // States whose energies differ by rounding alone are one level.
        let mut levels: Vec<(f64, f64)> = Vec::new();
        for (energy, p) in states {
            match levels.last_mut() {
                Some((level, sum)) if energy - *level < 1e-9 => *sum += p,
                _ => levels.push((energy, p)),
            }
        }
        Ok(Self { levels, first, second })
    }

    /// Single draws of many chains, `[chain, variable]`.
    fn compare<E: DiscreteEnergy>(&self, energy: &E, draws: &Array2<u8>) -> anyhow::Result<Exactness> {
        let n = self.first.len();
        let mut counts = vec![0.0; self.levels.len()];
        for x in draws.rows() {
            let value = energy.energy(&x.to_vec());
            let at = self.levels.partition_point(|(level, _)| *level < value - 1e-9);
            counts[at.min(self.levels.len() - 1)] += 1.0;
        }
        let probabilities: Vec<f64> = self.levels.iter().map(|(_, p)| *p).collect();
        let least_p = chi_square(&counts, &probabilities)?;
        let mut worst_z = 0f64;
        for i in 0..n {
            let single: Vec<f64> = draws.column(i).iter().map(|x| f64::from(*x)).collect();
            worst_z = worst_z.max(moment_z(&single, self.first[i])?.abs());
            for j in 0..i {
                let other = draws.column(j);
                let both: Vec<f64> = single.iter().zip(other).map(|(x, y)| x * f64::from(*y)).collect();
                worst_z = worst_z.max(moment_z(&both, self.second[n * i + j])?.abs());
            }
        }
        Ok(Exactness { worst_z, n_moments: n + n * (n - 1) / 2, least_p, n_marginals: 1 })
    }
}

/// The couplings between sites, a symmetric matrix `[n, n]`.
fn couplings(lattice: &IsingLattice) -> anyhow::Result<Tensor> {
    let n = lattice.n_sites();
    let mut matrix = vec![0.0; n * n];
    for (i, j, coupling) in lattice.edges() {
        matrix[n * i + j] += coupling;
        matrix[n * j + i] += coupling;
    }
    Ok(Tensor::f_from_slice(&matrix)?.f_view([n as i64, n as i64])?)
}

/// An Ising lattice as an energy of bits `[chains, n]`, as a network would be.
fn ising_network(lattice: &IsingLattice) -> anyhow::Result<impl GradEnergy<Tensor>> {
    let (matrix, fields) = (couplings(lattice)?, Tensor::f_from_slice(lattice.fields())?);
    Ok(Torch::module(nn::func(move |x: &Tensor| {
        let spins = x * 2.0 - 1.0;
        (spins.matmul(&matrix) * &spins * -0.5 - &spins * &fields).sum_dim_intlist(
            [1i64].as_slice(),
            true,
            None,
        )
    })))
}

/// A Potts lattice as an energy of one-hot rows `[chains, n, k]`.
fn potts_network(potts: &PottsLattice) -> anyhow::Result<impl GradEnergy<Tensor>> {
    let matrix = couplings(potts.lattice())?;
    Ok(Torch::module(nn::func(move |x: &Tensor| {
        (matrix.matmul(x) * x * -0.5).flatten(1, -1).sum_dim_intlist([1i64].as_slice(), true, None)
    })))
}

/// The field of the law that discrete Langevin has on a bit in `field`, where a move that costs nothing has the odds
/// `move_odds`. Its odds stand in the docs of [`Dula`].
fn dula_field(field: f64, move_odds: f64) -> f64 {
    let half_difference = -field;
    let biased = (1.0 + move_odds * half_difference.exp()) / (1.0 + move_odds * (-half_difference).exp());
    field + 0.5 * biased.ln()
}

impl Gallery<'_> {
    /// All discrete cells.
    ///
    /// # Errors
    /// What a sampler returns; a stop by `tell`.
    pub fn discrete(&mut self) -> anyhow::Result<()> {
        let field = IsingLattice::new(3, 4, Boundary::Torus, 0.3, 0.15)?;
        let law = Enumerated::new(&field)?;
        self.discrete_cell("gibbs", "ising_field", &Gibbs(Scan::Systematic), &field, &law)?;
        self.discrete_cell("gibbs_random", "ising_field", &Gibbs(Scan::Random), &field, &law)?;
        let colouring = Colouring::of(&field)?;
        self.discrete_cell("block_gibbs", "ising_field", &BlockGibbs::new(colouring), &field, &law)?;
        self.discrete_cell("gibbs_with_gradients", "ising_field", &GibbsWithGradients, &field, &law)?;
        self.discrete_cell("dmala", "ising_field", &Dmala::new(0.4), &field, &law)?;
        let network = ising_network(&field)?;
        self.tensor_cell(
            "gibbs_with_gradients_tensors",
            "ising_field",
            &GibbsWithGradients,
            &network,
            &field,
            &law,
        )?;
        self.tensor_cell("dmala_tensors", "ising_field", &Dmala::new(0.4), &network, &field, &law)?;

        let even = IsingLattice::new(4, 4, Boundary::Torus, 0.35, 0.0)?;
        let law = Enumerated::new(&even)?;
        self.discrete_cell("checkerboard", "ising", &Checkerboard::new(1), &even, &law)?;
        self.discrete_cell("swendsen_wang", "ising", &SwendsenWang, &even, &law)?;
        self.discrete_cell("wolff", "ising", &Wolff, &even, &law)?;

        let potts = PottsLattice::new(3, 3, Boundary::Open, 3, 0.6)?;
        let law = Enumerated::new(&potts)?;
        self.discrete_cell("gibbs", "potts", &Gibbs(Scan::Systematic), &potts, &law)?;
        let colouring = Colouring::checkerboard(potts.lattice())?;
        self.discrete_cell("block_gibbs", "potts", &BlockGibbs::new(colouring), &potts, &law)?;
        self.discrete_cell("gibbs_with_gradients", "potts", &GibbsWithGradients, &potts, &law)?;
        self.discrete_cell("dmala", "potts", &Dmala::new(0.4), &potts, &law)?;
        let network = potts_network(&potts)?;
        self.tensor_cell(
            "gibbs_with_gradients_tensors",
            "potts",
            &GibbsWithGradients,
            &network,
            &potts,
            &law,
        )?;
        self.tensor_cell("dmala_tensors", "potts", &Dmala::new(0.4), &network, &potts, &law)?;
        self.discrete_cell("checkerboard", "potts", &Checkerboard::new(1), &potts, &law)?;
        self.discrete_cell("swendsen_wang", "potts", &SwendsenWang, &potts, &law)?;
        self.discrete_cell("wolff", "potts", &Wolff, &potts, &law)?;

        let mut stream = Stream::new(0, Purpose::Synthetic, 0);
        let mut weights = |n: usize, scale: f64| (0..n).map(|_| scale * stream.normal()).collect::<Vec<_>>();
        let rbm = Rbm::new(weights(8 * 4, 0.7), weights(8, 0.3), weights(4, 0.3))?;
        let law = Enumerated::new(&rbm)?;
        self.discrete_cell("gibbs", "rbm", &Gibbs(Scan::Systematic), &rbm, &law)?;
        self.discrete_cell("rbm_gibbs", "rbm", &RbmGibbs, &rbm, &law)?;
        self.discrete_cell("gibbs_with_gradients", "rbm", &GibbsWithGradients, &rbm, &law)?;
        self.discrete_cell("dmala", "rbm", &Dmala::new(0.4), &rbm, &law)?;

        self.independent_bits()?;

        let cold = IsingLattice::new(8, 8, Boundary::Torus, 0.7, 0.0)?;
        self.cold_cell("gibbs", &Gibbs(Scan::Systematic), &cold)?;
        self.cold_cell("checkerboard", &Checkerboard::new(1), &cold)?;
        self.cold_cell("wolff", &Wolff, &cold)?;
        self.cold_cell("swendsen_wang", &SwendsenWang, &cold)
    }

    fn discrete_cell<K, E>(
        &mut self,
        kernel_name: &'static str,
        target: &'static str,
        kernel: &K,
        energy: &E,
        law: &Enumerated,
    ) -> anyhow::Result<()>
    where
        E: DiscreteEnergy + Sync,
        K: DiscreteKernel<E> + Sync,
    {
        if !self.wants(kernel_name, target) {
            return Ok(());
        }
        let &Settings { n_chains, discrete_burn_in, .. } = self.settings;
        let many = starts(energy, n_chains, self.seed);
        let run = sample_discrete(kernel, energy, &many, &config(1, discrete_burn_in, 1, self.seed))?;
        let exactness = law.compare(energy, &run.draws.index_axis(Axis(1), 0).to_owned())?;
        let cost = self.discrete_cost(kernel, energy)?;
        self.add(kernel_name, target, exactness, Some(cost))
    }

    /// Bits in a field that do not interact: discrete Langevin moves each of them by itself, and the law that it has instead of
    /// theirs is known. At two steps, the second with half as likely moves as the first.
    fn independent_bits(&mut self) -> anyhow::Result<()> {
        const TARGET: &str = "independent_bits";
        const FIELD: f64 = 0.4;
        let bits = |field: f64| IsingLattice::new(3, 4, Boundary::Open, 0.0, field);
        let energy = bits(FIELD)?;
        let network = ising_network(&energy)?;
        let &Settings { n_chains, discrete_burn_in, .. } = self.settings;
        let many = starts(&energy, n_chains, self.seed);
        let (mut host, mut tensors) = (Vec::new(), Vec::new());
        for move_odds in [0.5, 0.25] {
            let kernel = Dula::new(-0.5 / f64::ln(move_odds));
            let biased = bits(dula_field(FIELD, move_odds))?;
            let law = Enumerated::new(&biased)?;
            if self.wants("dula", TARGET) {
                let run =
                    sample_discrete(&kernel, &energy, &many, &config(1, discrete_burn_in, 1, self.seed))?;
                host.push(law.compare(&biased, &run.draws.index_axis(Axis(1), 0).to_owned())?);
            }
            if self.wants("dula_tensors", TARGET) {
                tensors.push(law.compare(&biased, &self.on_tensors(&kernel, &network, &many, 2)?)?);
            }
        }
        for (kernel, found) in [("dula", host), ("dula_tensors", tensors)] {
            if let [first, second] = found.as_slice() {
                self.add(kernel, TARGET, first.and(second), None)?;
            }
        }
        Ok(())
    }

    /// A kernel of tensors, against the law of the host's energy.
    fn tensor_cell<K, N, E>(
        &mut self,
        kernel_name: &'static str,
        target: &'static str,
        kernel: &K,
        network: &N,
        energy: &E,
        law: &Enumerated,
    ) -> anyhow::Result<()>
    where
        E: DiscreteEnergy,
        N: GradEnergy<Tensor>,
        K: Kernel<Tensor, N>,
    {
        if !self.wants(kernel_name, target) {
            return Ok(());
        }
        let many = starts(energy, self.settings.n_chains, self.seed);
        let draws = self.on_tensors(kernel, network, &many, energy.n_states())?;
        let exactness = law.compare(energy, &draws)?;
        self.add(kernel_name, target, exactness, None)
    }

    /// Where all chains end, `[chain, variable]`.
    fn on_tensors<K: Kernel<Tensor, N>, N: GradEnergy<Tensor>>(
        &self,
        kernel: &K,
        network: &N,
        starts: &[Vec<u8>],
        n_states: usize,
    ) -> anyhow::Result<Array2<u8>> {
        let size = [starts.len() as i64, starts[0].len() as i64];
        let flat: Vec<i64> = starts.iter().flatten().map(|v| i64::from(*v)).collect();
        let states = Tensor::f_from_slice(&flat)?.f_view(size)?;
        let bits = n_states == 2;
        let x = if bits { states } else { states.f_one_hot(n_states as i64)? };
        let n_steps = self.settings.discrete_burn_in as u64;
        let x = sample_batch(kernel, network, x.f_to_kind(Kind::Double)?, n_steps, self.seed, &mut ())?;
        let x = if bits { x.f_to_kind(Kind::Int64)? } else { x.f_argmax(2, false)? };
        let ends = Vec::<i64>::try_from(&x.f_view(-1)?)?;
        let ends = ends.into_iter().map(|v| v as u8).collect();
        Ok(Array2::from_shape_vec((starts.len(), starts[0].len()), ends)?)
    }

    /// ESS and R-hat of the energy over a few long chains.
    fn discrete_cost<K, E>(&self, kernel: &K, energy: &E) -> anyhow::Result<Cost>
    where
        E: DiscreteEnergy + Sync,
        K: DiscreteKernel<E> + Sync,
    {
        let &Settings { n_long_chains, n_draws, .. } = self.settings;
        let few = starts(energy, n_long_chains, self.seed + 1_000_000);
        let begin = Instant::now();
        let run = sample_discrete(kernel, energy, &few, &config(n_draws, 100, 1, self.seed + 1_000_000))?;
        let seconds = begin.elapsed().as_secs_f64();
        let energies = run.draws.map_axis(Axis(2), |x| energy.energy(&x.to_vec()));
        Ok(Cost {
            ess: ess_bulk(energies.view())?,
            gradients: (n_long_chains * n_draws) as f64,
            seconds,
            r_hat: r_hat(energies.view())?,
            n_diverged: run.summary.n_diverged.iter().sum(),
        })
    }

    /// A lattice below its critical temperature, every chain started with most spins up: single-spin updates stay on
    /// that side, clusters flip to the other. Magnetisation and energy against exact draws.
    fn cold_cell<K>(
        &mut self,
        kernel_name: &'static str,
        kernel: &K,
        lattice: &IsingLattice,
    ) -> anyhow::Result<()>
    where
        K: DiscreteKernel<IsingLattice> + Sync,
    {
        if !self.wants(kernel_name, "cold_ising") {
            return Ok(());
        }
        let &Settings { n_chains, discrete_burn_in, .. } = self.settings;
        let law = TransferMatrix::new(lattice.clone())?;
        let up = vec![vec![1u8; lattice.n_sites()]; n_chains];
        let run = sample_discrete(kernel, lattice, &up, &config(1, discrete_burn_in, 1, self.seed))?;
        let observe = |x: &[u8]| {
            let magnetisation = x.iter().map(|s| 2.0 * f64::from(*s) - 1.0).sum::<f64>() / x.len() as f64;
            [magnetisation, DiscreteEnergy::energy(lattice, x)]
        };
        let mut stream = Stream::new(self.seed, Purpose::Evaluation, 1);
        let exact: Vec<[f64; 2]> = (0..n_chains)
            .map(|_| observe(&law.sample(&mut stream).iter().map(|s| u8::from(*s > 0)).collect::<Vec<_>>()))
            .collect();
        let found: Vec<[f64; 2]> =
            run.draws.index_axis(Axis(1), 0).rows().into_iter().map(|x| observe(&x.to_vec())).collect();
        let column = |values: &[[f64; 2]], i: usize| values.iter().map(|v| v[i]).collect::<Vec<f64>>();
        let (mut worst_z, mut least_p) = (0f64, 1f64);
        for (i, mean) in [0.0, law.mean_energy()].into_iter().enumerate() {
            worst_z = worst_z.max(moment_z(&column(&found, i), mean)?.abs());
            least_p = least_p.min(kolmogorov_smirnov(&column(&found, i), &column(&exact, i))?);
        }
        let exactness = Exactness { worst_z, n_moments: 2, least_p, n_marginals: 2 };

        // Long chains from both sides: what R-hat needs to see that they stay there.
        let &Settings { n_long_chains, n_draws, .. } = self.settings;
        let sides: Vec<Vec<u8>> =
            (0..n_long_chains).map(|i| vec![(i % 2) as u8; lattice.n_sites()]).collect();
        let begin = Instant::now();
        let run = sample_discrete(kernel, lattice, &sides, &config(n_draws, 100, 1, self.seed + 1_000_000))?;
        let seconds = begin.elapsed().as_secs_f64();
        let magnetisations = run.draws.map_axis(Axis(2), |x| observe(&x.to_vec())[0]);
        let cost = Some(Cost {
            ess: ess_bulk(magnetisations.view())?,
            gradients: (n_long_chains * n_draws) as f64,
            seconds,
            r_hat: r_hat(magnetisations.view())?,
            n_diverged: 0,
        });
        self.add(kernel_name, "cold_ising", exactness, cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::samplers::table::{Expected, expected};

    /// The bias of the odds has the order that the table states, in `exp(-1 / (2 h))`.
    #[test]
    fn discrete_langevin_has_its_order() {
        let bias = |move_odds: f64| dula_field(0.4, move_odds) - 0.4;
        let order = (bias(1e-4) / bias(5e-5)).log2();
        assert!((order - 1.0).abs() < 1e-3, "{order}");
        assert_eq!(expected("dula", "independent_bits"), Some(Expected::Biased { order: 1 }));
    }
}
