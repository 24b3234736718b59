//! The three trainings: through the descent, by the noise of diffusion, and by the squared error of one pass.
//!
//! A batch holds windows, `[n, observations then actions]`, as rows.

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use ebm_samplers::descent::Descent;
use ebm_train::objectives::{Batch, Loss, Objective};
use tch::{Kind, Tensor};

use super::config::PolicyNetConfig;
use super::net::{ChunkLandscape, PolicyNet};
use crate::diffusion::DiffusionLoss;

/// Windows `[n, ..]` taken apart: observations `[n, n_observations, observation]`, actions `[n, n_actions, action]`.
///
/// # Errors
/// Rows of another length.
pub fn split_window(config: &PolicyNetConfig, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let [to, o, tp, a] =
        [config.n_observations, config.observation, config.n_actions, config.action].map(|n| n as i64);
    let size = x.size();
    if size.len() != 2 || size[1] != to * o + tp * a {
        return Err(Error::shape("windows", format!("[n, {}]", to * o + tp * a), size));
    }
    let observations = x.f_narrow(1, 0, to * o)?.f_reshape([size[0], to, o])?;
    let actions = x.f_narrow(1, to * o, tp * a)?.f_reshape([size[0], tp, a])?;
    Ok((observations, actions))
}

fn squared_error(found: &Tensor, wanted: &Tensor) -> Result<Tensor> {
    Ok(found.f_sub(wanted)?.f_square()?.f_mean(None::<Kind>)?)
}

/// EBT-Policy: the squared error of the candidate that the descent ends at, differentiated through its last step.
#[derive(Clone, Debug)]
pub struct EnergyObjective {
    descent: Descent,
    step_size: f64,
    seed: u64,
}

impl EnergyObjective {
    /// With this descent and fixed step size; start points and noise under `seed`.
    ///
    /// # Errors
    /// A descent that makes no sense, or a step size that is not above 0.
    pub fn new(descent: Descent, step_size: f64, seed: u64) -> Result<Self> {
        descent.check()?;
        if !(step_size > 0.0 && step_size.is_finite()) {
            return Err(Error::bad_value("descent.step_size", step_size, "above 0 and finite", "10 to 1000"));
        }
        Ok(Self { descent, step_size, seed })
    }
}

impl Objective<PolicyNet> for EnergyObjective {
    fn loss(&mut self, net: &PolicyNet, batch: &Batch, step: u64) -> Result<Loss> {
        let (observations, actions) = split_window(net.config(), &batch.x)?;
        let condition = net.encode(&observations)?;
        let landscape = ChunkLandscape { net, condition: &condition };
        let mut rng = TensorRng::new(self.seed, Purpose::Objective);
        rng.begin_step(step);
        let start = rng.normal(&actions.size(), 1.0, actions.kind(), actions.device())?;
        let step_size = Tensor::f_full([] as [i64; 0], self.step_size, (actions.kind(), actions.device()))?;
        let descended = self.descent.run(&landscape, &start, &step_size, &mut rng)?;
        let loss = descended.loss(|y| squared_error(y, &actions))?;
        Ok(Loss::new(loss, descended.metrics()?))
    }
}

/// Diffusion Policy: the noise in a noisy chunk, under the observations.
#[derive(Clone, Debug)]
pub struct DiffusionPolicyObjective {
    loss: DiffusionLoss,
    seed: u64,
}

impl DiffusionPolicyObjective {
    /// With this schedule and loss; times and noise under `seed`.
    pub fn new(loss: DiffusionLoss, seed: u64) -> Self {
        Self { loss, seed }
    }
}

impl Objective<PolicyNet> for DiffusionPolicyObjective {
    fn loss(&mut self, net: &PolicyNet, batch: &Batch, step: u64) -> Result<Loss> {
        let (observations, actions) = split_window(net.config(), &batch.x)?;
        let condition = net.encode(&observations)?;
        let mut rng = TensorRng::new(self.seed, Purpose::Objective);
        rng.begin_step(step);
        let noise_in = |y: &Tensor, time: &Tensor| net.forward(y, &condition, Some(time));
        self.loss.loss(&noise_in, &actions, &mut rng)
    }
}

/// Behaviour cloning: what the network makes of a chunk of zeros, against the expert's chunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloningObjective;

impl Objective<PolicyNet> for CloningObjective {
    fn loss(&mut self, net: &PolicyNet, batch: &Batch, _step: u64) -> Result<Loss> {
        let (observations, actions) = split_window(net.config(), &batch.x)?;
        let found = net.forward(&actions.f_zeros_like()?, &net.encode(&observations)?, None)?;
        Ok(Loss::new(squared_error(&found, &actions)?, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::NoiseScheduleConfig;
    use crate::ebt_policy::policy_descent;
    use ebm_core::torch::Params;
    use ebm_samplers::descent::{Normaliser, Steps};
    use tch::Device;

    fn tiny() -> PolicyNetConfig {
        PolicyNetConfig {
            observation: 2,
            n_observations: 2,
            action: 1,
            n_actions: 3,
            width: 4,
            n_heads: 1,
            n_encoder_layers: 1,
            n_layers: 1,
        }
    }

    fn windows(n: i64) -> Batch {
        let mut rng = TensorRng::new(4, Purpose::User);
        Batch { x: rng.uniform(&[n, 7], -1.0, 1.0, Kind::Double, Device::Cpu).unwrap(), labels: None }
    }

    /// With one step the start carries no gradient, so a finite difference of the whole loss is its gradient. (That
    /// several steps are differentiated through the last alone is a test of the engine.)
    #[test]
    fn the_gradient_of_training_is_the_finite_difference() {
        for normaliser in [Normaliser::RmsSample, Normaliser::RmsBatch] {
            let mut params = Params::new(5, Device::Cpu).with_kind(Kind::Double);
            let net = PolicyNet::new(&tiny(), false, &mut params).unwrap();
            let descent = Descent { n_steps: Steps::Fixed(1), ..policy_descent(normaliser, 1.0) };
            let mut objective = EnergyObjective::new(descent, 3.0, 1).unwrap();
            let batch = windows(2);
            let mut loss = || objective.loss(&net, &batch, 7).unwrap().loss;
            let gradients = Tensor::run_backward(&[loss()], &params.tensors(), false, false);
            let h = 1e-5;
            for ((name, p), gradient) in params.named().iter().zip(&gradients) {
                // A parameter without influence on the gradient of the energy has none in the loss.
                let flat = p.detach().view(-1);
                for i in [0, flat.size1().unwrap() / 2] {
                    let value = flat.double_value(&[i]);
                    let mut at = |v: f64| {
                        let _ = flat.get(i).fill_(v);
                        loss().double_value(&[])
                    };
                    let difference = (at(value + h) - at(value - h)) / (2.0 * h);
                    let _ = flat.get(i).fill_(value);
                    let found = if gradient.defined() { gradient.view(-1).double_value(&[i]) } else { 0.0 };
                    let scale = difference.abs().max(1e-3);
                    assert!((found - difference).abs() < 1e-6 * scale, "{name}[{i}]: {found} {difference}");
                }
            }
        }
    }

    #[test]
    fn losses_of_several_steps_are_finite_and_bad_settings_are_errors() {
        let mut params = Params::new(5, Device::Cpu).with_kind(Kind::Double);
        let net = PolicyNet::new(&tiny(), false, &mut params).unwrap();
        let mut objective = EnergyObjective::new(policy_descent(Normaliser::RmsSample, 9.0), 5.0, 1).unwrap();
        let batch = windows(4);
        for step in 0..3 {
            let loss = objective.loss(&net, &batch, step).unwrap();
            let (_, share) = loss.metrics.iter().find(|(name, _)| *name == "not_finite").unwrap();
            assert_eq!(share.double_value(&[]), 0.0);
            assert!(loss.loss.double_value(&[]).is_finite() && loss.loss.requires_grad());
        }
        assert!(EnergyObjective::new(policy_descent(Normaliser::RmsSample, 9.0), 0.0, 1).is_err());
        assert!(split_window(&tiny(), &batch.x.narrow(1, 0, 6)).is_err());
    }

    /// With the head's last layer at 0 the network says its bias everywhere: both losses are then numbers of the data.
    #[test]
    fn controls_have_the_losses_of_a_constant_answer() {
        let batch = windows(5000);
        let (_, actions) = split_window(&tiny(), &batch.x).unwrap();
        let bias = 0.3;
        let constant = |timed: bool| {
            let mut params = Params::new(5, Device::Cpu).with_kind(Kind::Double);
            let net = PolicyNet::new(&tiny(), timed, &mut params).unwrap();
            for (name, p) in params.named() {
                let value = match name.as_str() {
                    "head.second.weight" => 0.0,
                    "head.second.bias" => bias,
                    _ => continue,
                };
                let _ = p.detach().fill_(value);
            }
            net
        };
        let cloning = CloningObjective.loss(&constant(false), &batch, 0).unwrap().loss.double_value(&[]);
        let expected = (&actions - bias).square().mean(Kind::Double).double_value(&[]);
        assert!((cloning - expected).abs() < 1e-12);
        let schedule = NoiseScheduleConfig::ddpm().build().unwrap();
        let mut diffusion = DiffusionPolicyObjective::new(DiffusionLoss::new(schedule), 3);
        let found = diffusion.loss(&constant(true), &batch, 0).unwrap().loss.double_value(&[]);
        // E (z - b)^2 = 1 + b^2, with a standard deviation of sqrt((2 + 4 b^2) / 15000).
        assert!((found - 1.0 - bias * bias).abs() < 4.0 * (2.36f64 / 15_000.0).sqrt(), "{found}");
    }
}
