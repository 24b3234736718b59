//! The images of the two experiments and the outliers that they are told from, scaled to [-1, 1].

use std::path::Path;
use std::sync::Arc;

use ebm_core::random::{Purpose, Stream};
use ebm_core::torch::TensorRng;
use ebm_datasets::{
    Dataset, Part, digits, digits_split, fashion_8x8, fashion_mnist, images_from_idx, mnist, outliers,
};
use ebm_train::data::tensor_of;
use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use super::config::Config;
use crate::run::Run;
use crate::usage::usage;

/// Where in the stream of evaluation the parts begin, so that none shares numbers with another.
pub const TRAIN: u64 = 100;
/// See [`TRAIN`].
pub const NOISE: u64 = 101;
/// See [`TRAIN`].
pub const SHOWN_CHAINS: u64 = 1 << 20;
/// See [`TRAIN`].
pub const CHAINS: u64 = 1 << 30;

/// Random numbers for what is measured, apart from those of training.
pub fn evaluation_rng(seed: u64, from: u64) -> TensorRng {
    TensorRng::new(seed, Purpose::Evaluation).from_step(from)
}

/// Everything that a run looks at.
pub struct Data {
    /// Trained on.
    pub train: Arc<Dataset>,
    /// Watched during training.
    pub validation: Dataset,
    /// Judged on: the test part, or the validation part while settings are chosen.
    pub judged: Dataset,
    /// Named sets that are not of this kind.
    pub outliers: Vec<(&'static str, Array2<f32>)>,
}

impl Data {
    pub fn load(config: &Config, run: &Run) -> anyhow::Result<Self> {
        let [train, validation, test] = parts(config, run)?;
        let side = train.shape().last().copied().unwrap_or(0);
        if side != config.model.side || train.n_classes() != config.model.n_classes {
            return Err(usage(format!(
                "the images are {side} x {side} with {} classes, the model takes {} x {} with {}: set model.side and model.n_classes",
                train.n_classes(),
                config.model.side,
                config.model.side,
                config.model.n_classes
            )));
        }
        let judged = if config.eval.part == "validation" { validation.clone() } else { test };
        let mut stream = Stream::new(run.seed(), Purpose::Evaluation, 0);
        let x = judged.x();
        let mut sets = vec![
            ("blends", outliers::blends(x, &mut stream)?),
            ("permuted", outliers::permuted_pixels(x, &mut stream)),
            ("noise", outliers::uniform_noise(x.nrows(), x.ncols(), &mut stream)),
        ];
        sets.extend(other_images(config, run, judged.len())?);
        let signed = |a: &Array2<f32>| a.mapv(|v| 2.0 * v - 1.0);
        Ok(Self {
            train: Arc::new(train.map(|v| 2.0 * v - 1.0)?),
            validation: validation.map(|v| 2.0 * v - 1.0)?,
            outliers: sets.into_iter().map(|(name, x)| (name, signed(&x))).collect(),
            judged: judged.map(|v| 2.0 * v - 1.0)?,
        })
    }

    /// Rows as images on the device, with JEM's input noise: it is part of the model at scoring time too.
    pub fn noisy(
        &self,
        x: &Array2<f32>,
        noise_std: f32,
        mut rng: TensorRng,
        device: Device,
    ) -> anyhow::Result<Tensor> {
        let clean = self.images(x, device)?;
        let noise = rng.normal(&clean.size(), f64::from(noise_std), Kind::Float, device)?;
        Ok(clean.f_add(&noise)?)
    }

    /// Rows as images on the device.
    pub fn images(&self, x: &Array2<f32>, device: Device) -> anyhow::Result<Tensor> {
        let shape = self.train.shape().iter().map(|s| *s as i64);
        let shape: Vec<i64> = std::iter::once(x.nrows() as i64).chain(shape).collect();
        Ok(tensor_of(x.as_standard_layout().as_slice().unwrap_or_default(), &shape, device)?)
    }
}

fn parts(config: &Config, run: &Run) -> anyhow::Result<[Dataset; 3]> {
    let sizes = config.data.sizes;
    let side = config.model.side;
    if run.is_smoke() {
        // Digits stand in for everything: they are in the repository, and any size can be pooled from them.
        let small = digits()?;
        let small = if side == 8 { small } else { enlarge(&small, side)? };
        return Ok(small.split(sizes, 0)?);
    }
    if let Some(folder) = run.preset().data_path() {
        let data = own_images(folder, config.model.n_classes)?;
        return Ok(fit(data, side)?.split(sizes, 0)?);
    }
    match config.data.source.as_str() {
        "digits" if sizes == [1000, 300, 497] => Ok(digits_split()?),
        "digits" => Ok(digits()?.split(sizes, 0)?),
        "fashion-mnist" => {
            let pooled = |data: Dataset| fit(data, side);
            let [n_train, n_validation, n_test] = sizes;
            let all = pooled(fashion_mnist(run.data_dir(), Part::Train)?)?;
            let [train, validation] = all.split([n_train, n_validation], 0)?;
            let [test] = pooled(fashion_mnist(run.data_dir(), Part::Test)?)?.split([n_test], 0)?;
            Ok([train, validation, test])
        }
        other => Err(usage(format!("data.source = {other}: must be digits or fashion-mnist"))),
    }
}

/// Pool pictures down to `side`, or put a black border around smaller ones.
fn fit(data: Dataset, side: usize) -> anyhow::Result<Dataset> {
    let shown = data.shape().last().copied().unwrap_or(0);
    if shown >= side {
        return Ok(if shown == side { data } else { data.average_pool(side, side)? });
    }
    let border = (side - shown) / 2;
    let x = Array2::from_shape_fn((data.len(), side * side), |(i, at)| {
        let (row, column) = ((at / side).wrapping_sub(border), (at % side).wrapping_sub(border));
        if row < shown && column < shown { data.x()[[i, row * shown + column]] } else { 0.0 }
    });
    Ok(data.with_x(x, &[1, side, side])?)
}

/// Each pixel repeated until the picture is larger than `side`, then pooled down.
fn enlarge(data: &Dataset, side: usize) -> anyhow::Result<Dataset> {
    let times = side.div_ceil(8);
    let wide = 8 * times;
    let x = Array2::from_shape_fn((data.len(), wide * wide), |(i, at)| {
        data.x()[[i, (at / wide / times) * 8 + at % wide / times]]
    });
    let large = data.with_x(x, &[1, wide, wide])?;
    Ok(if wide == side { large } else { large.average_pool(side, side)? })
}

/// The user's own images and labels.
fn own_images(folder: &Path, n_classes: usize) -> anyhow::Result<Dataset> {
    let file = |stem: &str| {
        let packed = folder.join(format!("{stem}.gz"));
        if packed.exists() { packed } else { folder.join(stem) }
    };
    let labels = file("labels-idx1-ubyte");
    Ok(images_from_idx(&file("images-idx3-ubyte"), Some((&labels, n_classes)))?)
}

/// Real images of another kind: Fashion-MNIST for digits, MNIST for fashion.
fn other_images(config: &Config, run: &Run, n: usize) -> anyhow::Result<Vec<(&'static str, Array2<f32>)>> {
    let side = config.model.side;
    Ok(match config.data.source.as_str() {
        "digits" if side == 8 => vec![("fashion", fashion_8x8()?.x().clone())],
        "fashion-mnist" if run.is_smoke() => {
            let [some] = digits()?.split([n], 1)?;
            vec![("mnist", enlarge(&some, side)?.x().clone())]
        }
        "fashion-mnist" => {
            let test = mnist(run.data_dir(), Part::Test)?;
            let [some] = test.split([n.min(test.len())], 0)?;
            vec![("mnist", fit(some, side)?.x().clone())]
        }
        _ => Vec::new(),
    })
}
