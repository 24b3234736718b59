//! What the model and its controls predict for a set of films, as plain numbers.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_models::ebwm::{Ebwm, FrameTransformer, frame_errors, observed_and_next};
use tch::{Kind, Tensor};

use super::config::Config;

/// Films at a time.
const CHUNK: i64 = 250;

/// The difference, squared and summed over a frame, below which two frames count as one picture: a film of even
/// velocity comes back to its start after six frames.
const SAME: f64 = 1e-6;

/// EBWM on a set of films; all vectors run over (film, position), film by film.
#[derive(Default)]
pub struct Descents {
    /// Predictions after as many steps as in training, `[film, position, width]`.
    pub predictions: Vec<f32>,
    /// `errors[k]`: Smooth-L1 after `k` steps; `errors[0]` is the start's.
    pub errors: Vec<Vec<f64>>,
    /// `energies[k]`: of the candidate after `k` steps.
    pub energies: Vec<Vec<f64>>,
}

impl Descents {
    /// Descends on every position of `films` `[n, frames, width]`, `eval.most_steps` steps. The start of each film is a
    /// function of the seed and of `set` alone.
    pub fn run(config: &Config, net: &Ebwm, films: &Tensor, seed: u64, set: u64) -> anyhow::Result<Self> {
        let most = config.eval.most_steps;
        let mut all = Self {
            errors: vec![Vec::new(); most + 1],
            energies: vec![Vec::new(); most + 1],
            ..Self::default()
        };
        let descent = config.descent.prediction(1, false);
        for (number, films) in chunks(films)?.into_iter().enumerate() {
            let (frames, next) = observed_and_next(&films)?;
            let mut rng = TensorRng::new(seed, Purpose::Evaluation).from_step((set << 20) + number as u64);
            let landscape = tch::no_grad(|| net.after(&frames))?;
            let mut y = net.start(&frames, &mut rng)?;
            for k in 0..=most {
                all.errors[k].extend(numbers(&frame_errors(&y, &next, config.objective.beta)?)?);
                if k == config.n_steps() {
                    all.predictions.extend(Vec::<f32>::try_from(&y.f_flatten(0, -1)?)?);
                }
                // One step at a time is the same descent: nothing but the candidate is carried over.
                let run = descent.run(&landscape, &y, net.step_size(), &mut rng)?;
                all.energies[k].extend(numbers(&run.energies[0])?);
                y = run.last;
            }
        }
        Ok(all)
    }

    /// Mean error after `k` steps.
    pub fn loss(&self, k: usize) -> f64 {
        mean(&self.errors[k])
    }
}

/// Energies of every frame of a film in the place of every next frame.
#[derive(Default)]
pub struct Verification {
    /// Energies of the true next frames.
    pub true_next: Vec<f64>,
    /// Energies of other frames of the film in their places.
    pub others: Vec<f64>,
    /// Of each film: the share of (position, other frame) pairs in which the true next frame is lower.
    pub preferred: Vec<f64>,
    /// Of each position: the same share, over films.
    pub by_position: Vec<f64>,
}

impl Verification {
    /// Puts each frame of a film in the place of each next frame. Frames that look like the true one are left out.
    pub fn run(net: &Ebwm, films: &Tensor) -> anyhow::Result<Self> {
        let mut all = Self::default();
        let mut positions: Vec<(f64, f64)> = Vec::new();
        for films in chunks(films)? {
            let (frames, next) = observed_and_next(&films)?;
            let (n, s, _) = frames.size3()?;
            let landscape = tch::no_grad(|| net.after(&frames))?;
            let truth = numbers(&tch::no_grad(|| landscape.energies(&next))?)?;
            positions.resize(s as usize, (0.0, 0.0));
            let mut pairs = vec![(0.0, 0.0); n as usize];
            for j in 0..films.size()[1] {
                let other = films.f_narrow(1, j, 1)?.f_expand_as(&next)?;
                let energies = numbers(&tch::no_grad(|| landscape.energies(&other))?)?;
                let axes = [-1i64];
                let distance =
                    other.f_sub(&next)?.f_square()?.f_sum_dim_intlist(axes.as_slice(), false, Kind::Float)?;
                let distance = numbers(&distance)?;
                for at in (0..truth.len()).filter(|&at| distance[at] > SAME) {
                    let (film, position) = (at / s as usize, at % s as usize);
                    let wins = match truth[at].total_cmp(&energies[at]) {
                        std::cmp::Ordering::Less => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Greater => 0.0,
                    };
                    for count in [&mut pairs[film], &mut positions[position]] {
                        count.0 += wins;
                        count.1 += 1.0;
                    }
                    all.others.push(energies[at]);
                }
            }
            all.true_next.extend(truth);
            all.preferred.extend(pairs.into_iter().map(|(wins, n)| wins / n));
        }
        all.by_position = positions.into_iter().map(|(wins, n)| wins / n).collect();
        Ok(all)
    }
}

/// The transformer's predictions and their errors.
pub fn one_pass(
    config: &Config,
    net: &FrameTransformer,
    films: &Tensor,
) -> anyhow::Result<(Vec<f32>, Vec<f64>)> {
    let (mut predictions, mut errors) = (Vec::new(), Vec::new());
    for films in chunks(films)? {
        let (frames, next) = observed_and_next(&films)?;
        let y = tch::no_grad(|| net.predict(&frames))?;
        errors.extend(numbers(&frame_errors(&y, &next, config.objective.beta)?)?);
        predictions.extend(Vec::<f32>::try_from(&y.f_flatten(0, -1)?)?);
    }
    Ok((predictions, errors))
}

/// Errors of the frame before as a prediction.
pub fn copy_last(config: &Config, films: &Tensor) -> anyhow::Result<Vec<f64>> {
    let (frames, next) = observed_and_next(films)?;
    numbers(&frame_errors(&frames, &next, config.objective.beta)?)
}

fn chunks(films: &Tensor) -> anyhow::Result<Vec<Tensor>> {
    let n = films.size()[0];
    (0..n).step_by(CHUNK as usize).map(|from| Ok(films.f_narrow(0, from, CHUNK.min(n - from))?)).collect()
}

fn numbers(x: &Tensor) -> anyhow::Result<Vec<f64>> {
    Ok(Vec::try_from(&x.f_detach()?.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?)
}

pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}
