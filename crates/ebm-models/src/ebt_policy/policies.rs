//! Trained networks as policies of the control task: batches of histories in, chunks of actions out.
//!
//! A chunk starts from noise that is a function of (seed, call, episode): other episodes have no
//! influence on it. (Noise within a DDPM chain is the batch's.)

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use ebm_datasets::push::{ACTION, Chunk, OBSERVATION, Policy, TO, TP};
use ebm_samplers::descent::Descent;
use tch::{Device, Kind, Tensor};

use super::net::{ChunkLandscape, PolicyNet};
use crate::diffusion::ReverseChain;

/// Observations as `[n, TO, OBSERVATION]`.
fn histories(history: &[[[f32; OBSERVATION]; TO]], device: Device) -> Result<Tensor> {
    let flat = history.as_flattened().as_flattened();
    let shape = [history.len() as i64, TO as i64, OBSERVATION as i64];
    Ok(Tensor::f_from_slice(flat)?.f_view(shape)?.f_to_device(device)?)
}

/// Standard normal numbers `[n, TP, ACTION]`, row `i` those of `episodes[i]`.
fn start(rng: &mut TensorRng, episodes: &[usize], device: Device) -> Result<Tensor> {
    let most = episodes.iter().max().map_or(0, |e| e + 1) as i64;
    let all = rng.normal(&[most, TP as i64, ACTION as i64], 1.0, Kind::Float, device)?;
    let rows: Vec<i64> = episodes.iter().map(|e| *e as i64).collect();
    Ok(all.f_index_select(0, &Tensor::f_from_slice(&rows)?.f_to_device(device)?)?)
}

/// Chunks `[n, TP, ACTION]` with evaluations and scores `[n]`.
fn chunks(actions: &Tensor, n_evaluations: &[i64], scores: &[f64]) -> Result<Vec<Chunk>> {
    let wide = Kind::Float;
    let flat = Vec::<f32>::try_from(&actions.f_to_kind(wide)?.f_contiguous()?.f_view([-1])?)?; // host read: actions leave
    let (rows, _) = flat.as_chunks::<ACTION>();
    let (rows, _) = rows.as_chunks::<TP>();
    if rows.len() != scores.len() || rows.len() != n_evaluations.len() {
        return Err(Error::shape("chunks", scores.len(), rows.len()));
    }
    let numbers = n_evaluations.iter().zip(scores);
    let chunk = |(actions, (n, score)): (&[[f32; ACTION]; TP], (&i64, &f64))| Chunk {
        actions: *actions,
        n_evaluations: u32::try_from(*n).unwrap_or(u32::MAX),
        score: *score,
    };
    Ok(rows.iter().zip(numbers).map(chunk).collect())
}

/// EBT-Policy: descends from noise. Its score is the energy at the last point that it evaluated.
#[derive(Debug)]
pub struct EnergyPolicy<'a> {
    net: &'a PolicyNet,
    descent: Descent,
    step_size: f64,
    seed: u64,
    device: Device,
    /// Mean energy and mean gradient norm over the chunks, for each number of the step, of the last call.
    pub curve: Vec<(f64, f64)>,
}

impl<'a> EnergyPolicy<'a> {
    /// With the descent of prediction.
    ///
    /// # Errors
    /// A descent that makes no sense.
    pub fn new(
        net: &'a PolicyNet,
        descent: Descent,
        step_size: f64,
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        descent.check()?;
        Ok(Self { net, descent, step_size, seed, device, curve: Vec::new() })
    }
}

impl Policy for EnergyPolicy<'_> {
    fn act(
        &mut self,
        history: &[[[f32; OBSERVATION]; TO]],
        episodes: &[usize],
        call: usize,
    ) -> Result<Vec<Chunk>> {
        let mut rng = TensorRng::new(self.seed, Purpose::Evaluation);
        rng.begin_step(call as u64);
        let condition = tch::no_grad(|| self.net.encode(&histories(history, self.device)?))?;
        let landscape = ChunkLandscape { net: self.net, condition: &condition };
        let start = start(&mut rng, episodes, self.device)?;
        let step_size = Tensor::f_full([] as [i64; 0], self.step_size, (Kind::Float, self.device))?;
        let descended = self.descent.run(&landscape, &start, &step_size, &mut rng)?;
        let mean = |t: &Tensor| -> Result<f64> { Ok(t.f_mean(Kind::Double)?.f_double_value(&[])?) }; // host read: the chunk is decided
        self.curve.clear();
        for (energy, norm) in descended.energies.iter().zip(&descended.gradient_norms) {
            self.curve.push((mean(energy)?, mean(norm)?));
        }
        let used = descended.n_evaluations.f_sub_scalar(1)?.f_unsqueeze(0)?;
        let last = Tensor::f_stack(&descended.energies, 0)?.f_gather(0, &used, false)?.f_squeeze_dim(0)?;
        let scores = Vec::<f64>::try_from(&last.f_to_kind(Kind::Double)?)?; // host read: the chunk is decided
        let n = Vec::<i64>::try_from(&descended.n_evaluations)?; // host read: the chunk is decided
        chunks(&descended.last, &n, &scores)
    }
}

/// Diffusion Policy: a reverse chain from noise. It has no score; the rollouts record 0.
#[derive(Debug)]
pub struct DiffusionPolicy<'a> {
    net: &'a PolicyNet,
    chain: ReverseChain,
    seed: u64,
    device: Device,
}

impl<'a> DiffusionPolicy<'a> {
    /// Guesses of the clean chunk are clamped to `[-bound, bound]`: 1 in the released code, where actions end there.
    pub fn new(net: &'a PolicyNet, chain: ReverseChain, bound: f64, seed: u64, device: Device) -> Self {
        Self { net, chain: chain.clip(bound), seed, device }
    }
}

impl Policy for DiffusionPolicy<'_> {
    fn act(
        &mut self,
        history: &[[[f32; OBSERVATION]; TO]],
        episodes: &[usize],
        call: usize,
    ) -> Result<Vec<Chunk>> {
        let mut rng = TensorRng::new(self.seed, Purpose::Evaluation);
        rng.begin_step(call as u64);
        let start = start(&mut rng, episodes, self.device)?;
        let n = self.chain.n_evaluations();
        let actions = tch::no_grad(|| {
            let condition = self.net.encode(&histories(history, self.device)?)?;
            let noise_in = |y: &Tensor, time: &Tensor| self.net.forward(y, &condition, Some(time));
            // Noise within the chain: steps of another part of the stream for each call.
            let inside = TensorRng::new(self.seed, Purpose::Chain).from_step((call * n) as u64);
            self.chain.run(&noise_in, &start, inside)
        })?;
        chunks(&actions, &vec![n as i64; episodes.len()], &vec![0.0; episodes.len()])
    }
}

/// Behaviour cloning: one pass. It has no score; the rollouts record 0.
#[derive(Debug)]
pub struct CloningPolicy<'a> {
    /// The network, not timed.
    pub net: &'a PolicyNet,
    /// Where it is.
    pub device: Device,
}

impl Policy for CloningPolicy<'_> {
    fn act(
        &mut self,
        history: &[[[f32; OBSERVATION]; TO]],
        episodes: &[usize],
        _call: usize,
    ) -> Result<Vec<Chunk>> {
        let n = episodes.len();
        let actions = tch::no_grad(|| {
            let condition = self.net.encode(&histories(history, self.device)?)?;
            let zeros = Tensor::f_zeros([n as i64, TP as i64, ACTION as i64], (Kind::Float, self.device))?;
            self.net.forward(&zeros, &condition, None)
        })?;
        chunks(&actions, &vec![1; n], &vec![0.0; n])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PolicyNetConfig, policy_descent, policy_prediction};
    use super::*;
    use crate::diffusion::{NoiseScheduleConfig, ReverseVariance};
    use ebm_core::torch::Params;
    use ebm_samplers::descent::Normaliser;

    /// A chunk is the same whoever else decides at the same time.
    #[test]
    fn a_decision_does_not_depend_on_the_other_episodes() {
        let config = PolicyNetConfig { width: 8, n_layers: 1, ..PolicyNetConfig::small(OBSERVATION, ACTION) };
        let net = |timed| PolicyNet::new(&config, timed, &mut Params::new(1, Device::Cpu)).unwrap();
        let (plain, timed) = (net(false), net(true));
        let descent = policy_prediction(&policy_descent(Normaliser::RmsSample, 1.0), 1e-3, 20);
        let schedule = NoiseScheduleConfig::SquaredCosine { n_steps: 20 }.build().unwrap();
        let ddim = ReverseChain::ddim(&schedule, 5, 0.0).unwrap();
        let policies: [(Box<dyn Policy>, std::ops::RangeInclusive<u32>); 3] = [
            (Box::new(EnergyPolicy::new(&plain, descent, 1.0, 3, Device::Cpu).unwrap()), 2..=20),
            (Box::new(DiffusionPolicy::new(&timed, ddim, 1.0, 3, Device::Cpu)), 5..=5),
            (Box::new(CloningPolicy { net: &plain, device: Device::Cpu }), 1..=1),
        ];
        let history: Vec<_> = (0..4).map(|i| [[0.1 * i as f32; OBSERVATION]; TO]).collect();
        for (mut policy, evaluations) in policies {
            let all = policy.act(&history, &[0, 2, 5, 6], 4).unwrap();
            let alone = policy.act(&history[2..3], &[5], 4).unwrap();
            assert!(all.iter().all(|c| evaluations.contains(&c.n_evaluations)));
            assert_eq!(alone[0].n_evaluations, all[2].n_evaluations);
            let pairs = alone[0].actions.as_flattened().iter().zip(all[2].actions.as_flattened());
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
        }
        // Ancestral sampling draws for the whole batch: only its shape is promised.
        let ddpm = ReverseChain::ddpm(&schedule, 20, ReverseVariance::Lower).unwrap();
        let chunks =
            DiffusionPolicy::new(&timed, ddpm, 1.0, 3, Device::Cpu).act(&history, &[0, 1, 2, 3], 0).unwrap();
        assert!(chunks.len() == 4 && chunks.iter().all(|c| c.n_evaluations == 20));
        assert!(chunks.iter().flat_map(|c| c.actions.as_flattened()).all(|a| a.abs() <= 1.0));
    }
}
