//! The images of the experiment on [-1, 1], and their noisy versions.

use std::sync::Arc;

use ebm_core::random::Purpose;
use ebm_core::torch::TensorRng;
use ebm_datasets::{Dataset, Part, fashion_8x8, fashion_mnist, images_from_png_folder};
use ebm_models::ebt::Corruption;
use ebm_train::data::tensor_of;
use ndarray::Array2;
use tch::{Device, Tensor};

use super::config::Config;
use crate::run::Run;
use crate::usage::usage;

/// Where in the stream of evaluation the noise on judged images begins: the training's own validation noise is before.
const NOISE: u64 = 1000;

/// Everything that a run looks at.
pub struct Data {
    /// Trained on.
    pub train: Arc<Dataset>,
    /// Watched during training.
    pub validation: Dataset,
    /// Judged on: the test part, or the validation part while settings are chosen.
    pub judged: Dataset,
}

impl Data {
    pub fn load(config: &Config, run: &Run) -> anyhow::Result<Self> {
        let [train, validation, test] = parts(config, run)?;
        let trunk = &config.model.trunk;
        let expected = [trunk.channels, trunk.side, trunk.side];
        if train.shape() != expected {
            return Err(usage(format!(
                "the images are {:?} (channels, height, width), the model takes {expected:?}: set model.trunk.channels and model.trunk.side",
                train.shape()
            )));
        }
        let judged = if config.eval.part == "validation" { validation.clone() } else { test };
        let signed = |set: &Dataset| set.map(|v| 2.0 * v - 1.0);
        Ok(Self {
            train: Arc::new(signed(&train)?),
            validation: signed(&validation)?,
            judged: signed(&judged)?,
        })
    }

    /// The judged images with the noise of part number `i`: the same for every sampler.
    pub fn noisy(&self, corruption: &Corruption, i: u64, run: &Run) -> anyhow::Result<Tensor> {
        let mut rng = TensorRng::new(run.seed(), Purpose::Evaluation).from_step(NOISE + i);
        Ok(corruption.apply(&images(&self.judged, run.device())?, &mut rng)?)
    }
}

/// A data set as `[n, channels, height, width]` on the device.
pub fn images(set: &Dataset, device: Device) -> anyhow::Result<Tensor> {
    let shape: Vec<i64> = std::iter::once(&set.len()).chain(set.shape()).map(|n| *n as i64).collect();
    Ok(tensor_of(set.values(), &shape, device)?)
}

fn parts(config: &Config, run: &Run) -> anyhow::Result<[Dataset; 3]> {
    let sizes = config.data.sizes;
    let trunk = &config.model.trunk;
    if run.is_smoke() {
        return Ok(enlarged(&fashion_8x8()?, trunk.side, trunk.channels)?.split(sizes, 0)?);
    }
    if let Some(folder) = run.preset().data_path() {
        return Ok(images_from_png_folder(folder, trunk.side, trunk.channels)?.split(sizes, 0)?);
    }
    if config.data.source == "png" {
        return Err(usage(
            "the images of this preset are in no package: give a folder of PNG images, --set data.path=FOLDER",
        ));
    }
    let [n_train, n_validation, n_test] = sizes;
    let [train, validation] =
        fashion_mnist(run.data_dir(), Part::Train)?.split([n_train, n_validation], 0)?;
    let [test] = fashion_mnist(run.data_dir(), Part::Test)?.split([n_test], 0)?;
    Ok([train, validation, test])
}

/// The shipped 8 x 8 images at a multiple of their size, in as many equal channels.
fn enlarged(data: &Dataset, side: usize, channels: usize) -> anyhow::Result<Dataset> {
    let times = side / 8;
    if side != 8 * times || times == 0 {
        return Err(usage(format!("model.trunk.side = {side}: a smoke run takes a multiple of 8")));
    }
    let x = Array2::from_shape_fn((data.len(), channels * side * side), |(i, at)| {
        let (row, column) = (at % (side * side) / side, at % side);
        data.x()[[i, row / times * 8 + column / times]]
    });
    Ok(data.with_x(x, &[channels, side, side])?)
}
