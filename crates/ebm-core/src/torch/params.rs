//! Named parameters of a network: created from our random streams, saved, loaded and trained by name.

use tch::{Device, Kind, Tensor};

use super::TensorRng;
use crate::random::Purpose;
use crate::{Error, Result, StepRng};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Every element the same.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform on `[-bound, bound)`. PyTorch's default for linear and convolution layers, weight and bias, is
    /// the bound `1 / sqrt(fan_in)`.
    Uniform(f64),
}

/// The parameters of one network, in the order in which they were made.
///
/// Parameter number `i` starts from the stream (seed, initialisation, `i`): a network's start does not depend on
/// what else draws random numbers.
#[derive(Debug)]
pub struct Params {
    seed: u64,
    device: Device,
    kind: Kind,
    named: Vec<(String, Tensor)>,
}

impl Params {
    /// No parameters yet; those to come live on `device`, as f32.
    pub fn new(seed: u64, device: Device) -> Self {
        Self { seed, device, kind: Kind::Float, named: Vec::new() }
    }

    /// The same in another precision (f64 for tests against closed forms).
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Where names begin.
    pub fn root(&mut self) -> Path<'_> {
        Path { params: self, prefix: String::new() }
    }

    /// Where the parameters live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Names and handles, in the order of creation.
    pub fn named(&self) -> &[(String, Tensor)] {
        &self.named
    }

    /// Handles alone, in the same order.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.named.iter().map(|(_, t)| t.shallow_clone()).collect()
    }

    /// Numbers in all parameters together.
    pub fn count(&self) -> usize {
        self.named.iter().map(|(_, t)| t.numel()).sum()
    }

    /// Overwrite the values from tensors with the same names and shapes, in any order.
    ///
    /// # Errors
    /// When a name is missing, unknown, or a shape differs; then nothing was changed.
    pub fn load(&self, values: &[(String, Tensor)]) -> Result<()> {
        let find = |name: &str| values.iter().find(|(n, _)| n == name).map(|(_, t)| t);
        for (name, _) in values {
            if !self.named.iter().any(|(n, _)| n == name) {
                return Err(Error::user(format!("parameter '{name}' is not one of this model's")));
            }
        }
        for (name, parameter) in &self.named {
            let value = find(name).ok_or_else(|| Error::user(format!("parameter '{name}' is missing")))?;
            if value.size() != parameter.size() {
                return Err(Error::shape(format!("parameter '{name}'"), parameter.size(), value.size()));
            }
        }
        tch::no_grad(|| {
            for (name, parameter) in &self.named {
                if let Some(value) = find(name) {
                    parameter.shallow_clone().f_copy_(value)?;
                }
            }
            Ok(())
        })
    }
}

/// A place in the tree of names: `path.sub("conv1")` gives names that begin with `conv1.`.
#[derive(Debug)]
pub struct Path<'a> {
    params: &'a mut Params,
    prefix: String,
}

impl Path<'_> {
    /// The names below `name`.
    pub fn sub(&mut self, name: impl std::fmt::Display) -> Path<'_> {
        Path { prefix: format!("{}{name}.", self.prefix), params: self.params }
    }

    /// A new trainable parameter.
    ///
    /// # Errors
    /// When the name is taken or LibTorch cannot allocate.
    pub fn parameter(&mut self, name: &str, size: &[i64], init: Init) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        if self.params.named.iter().any(|(n, _)| *n == name) {
            return Err(Error::user(format!("there are two parameters named '{name}'")));
        }
        let Params { seed, device, kind, .. } = *self.params;
        let mut rng = TensorRng::new(seed, Purpose::Init);
        rng.begin_step(self.params.named.len() as u64);
        let value = match init {
            Init::Constant(value) => Tensor::f_full(size, value, (kind, device))?,
            Init::Normal(sigma) => rng.normal(size, sigma, kind, Device::Cpu)?.f_to_device(device)?,
            Init::Uniform(bound) => {
                rng.uniform(size, -bound, bound, kind, Device::Cpu)?.f_to_device(device)?
            }
        };
        let value = value.set_requires_grad(true);
        self.params.named.push((name, value.shallow_clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(seed: u64) -> Params {
        let mut params = Params::new(seed, Device::Cpu);
        let mut root = params.root();
        let mut layer = root.sub("layer");
        let _ = layer.parameter("weight", &[40, 50], Init::Normal(0.5)).unwrap();
        let _ = layer.parameter("bias", &[40], Init::Uniform(0.1)).unwrap();
        let _ = root.parameter("scale", &[], Init::Constant(1.0)).unwrap();
        params
    }

    #[test]
    fn a_start_is_a_function_of_the_seed_and_loads_by_name() {
        let (a, b, c) = (make(1), make(1), make(2));
        let names: Vec<_> = a.named().iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["layer.weight", "layer.bias", "scale"]);
        assert_eq!(a.count(), 2041);
        assert!(a.tensors()[0] == b.tensors()[0] && a.tensors()[0] != c.tensors()[0]);
        assert!(a.tensors().iter().all(Tensor::requires_grad));
        let std = a.tensors()[0].std(true).double_value(&[]);
        assert!((std - 0.5).abs() < 0.5 * 5.0 / (2.0 * 2000f64).sqrt(), "{std}");
        let mut values: Vec<_> = a.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        values.reverse();
        c.load(&values).unwrap();
        assert!(a.tensors()[0] == c.tensors()[0]);
    }

    #[test]
    fn a_wrong_file_changes_nothing_and_says_which_parameter() {
        let (a, b) = (make(1), make(2));
        let before = b.tensors()[0].copy();
        let mut values: Vec<_> = a.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        values[1].1 = Tensor::zeros([41], (Kind::Float, Device::Cpu));
        assert_eq!(
            b.load(&values).unwrap_err().to_string(),
            "parameter 'layer.bias': expected [40], found [41]"
        );
        drop(values.remove(1));
        assert!(b.load(&values).unwrap_err().to_string().contains("'layer.bias' is missing"));
        values.push(("other".into(), Tensor::new()));
        assert!(b.load(&values).unwrap_err().to_string().contains("'other'"));
        assert!(b.tensors()[0] == before);
        let mut params = make(1);
        assert!(params.root().parameter("scale", &[], Init::Constant(0.0)).is_err());
    }
}
