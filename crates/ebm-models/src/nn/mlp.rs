//! A multilayer perceptron as an energy: `[n, inputs] -> [n]`.

use ebm_core::torch::Params;
use ebm_core::{Error, GraphEnergy, Result, TrainableEnergy, tensor_energy};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Activation, Linear, LinearSpec};

/// Sizes of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Coordinates of a point.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// After each hidden layer.
    pub activation: Activation,
}

impl MlpConfig {
    /// The layers, the last with one output.
    pub fn layers(&self) -> Vec<LinearSpec> {
        let inputs = std::iter::once(&self.inputs).chain(&self.hidden);
        let outputs = self.hidden.iter().chain(std::iter::once(&1));
        inputs.zip(outputs).map(|(i, o)| LinearSpec::new(*i, *o)).collect()
    }

    /// Trainable numbers.
    pub fn n_parameters(&self) -> u64 {
        self.layers().iter().map(LinearSpec::parameters).sum()
    }

    /// Multiply-accumulates of one forward pass for one point.
    pub fn macs(&self) -> u64 {
        self.layers().iter().map(LinearSpec::macs).sum()
    }

    /// Whether every width is above 0.
    ///
    /// # Errors
    /// Otherwise.
    pub fn check(&self) -> Result<()> {
        if self.inputs == 0 || self.hidden.contains(&0) {
            return Err(Error::bad_value("model.hidden", 0, "widths above 0", ""));
        }
        Ok(())
    }
}

/// See [`MlpConfig`].
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    activation: Activation,
    parameters: Vec<Tensor>,
}

impl Mlp {
    /// A fresh network whose parameters join `params`, named by the layer's number.
    ///
    /// # Errors
    /// Impossible sizes, or no memory.
    pub fn new(config: &MlpConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let mut layers = Vec::new();
        for (i, layer) in config.layers().iter().enumerate() {
            layers.push(layer.build(params.root().sub(i))?);
        }
        Ok(Self { layers, activation: config.activation, parameters: params.tensors() })
    }
}

impl GraphEnergy for Mlp {
    fn energy_graph(&self, x: &Tensor) -> Result<Tensor> {
        let mut h = x.shallow_clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                h = self.activation.forward(&h)?;
            }
            h = layer.forward(&h)?;
        }
        Ok(h.f_squeeze_dim(1)?)
    }
}

tensor_energy!(Mlp);

impl TrainableEnergy for Mlp {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters.iter().map(Tensor::shallow_clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn one_number_per_point_and_the_size_that_the_config_says() {
        let config = MlpConfig { inputs: 2, hidden: vec![16, 8], activation: Activation::Silu };
        let mut params = Params::new(0, Device::Cpu);
        let mlp = Mlp::new(&config, &mut params).unwrap();
        assert_eq!(config.n_parameters(), (2 * 16 + 16) + (16 * 8 + 8) + (8 + 1));
        assert_eq!(params.count() as u64, config.n_parameters());
        let x = Tensor::zeros([5, 2], (Kind::Float, Device::Cpu));
        assert_eq!(mlp.energy_graph(&x).unwrap().size(), [5]);
        assert!(mlp.energy_graph(&x.narrow(1, 0, 1)).is_err());
        assert!(MlpConfig { hidden: vec![0], ..config }.check().is_err());
    }
}
