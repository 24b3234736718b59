//! Films as vectors: moving digits, or the user's own; trained on, judged on, and of another kind.

use std::path::Path;
use std::sync::Arc;

use ebm_datasets::moving_digits::{FourierFrames, N_PIXELS, moving_digits, velocities};
use ebm_datasets::{Dataset, digits, digits_split, fashion_8x8};
use ebm_train::data::tensor_of;
use ebm_train::tensors;
use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use super::config::{Config, DataSection};
use crate::run::Run;
use crate::usage::usage;

/// Everything that a run looks at; films are items of shape `[frames, width]`.
pub struct Data {
    /// Trained on.
    pub train: Arc<Dataset>,
    /// Watched during training.
    pub validation: Dataset,
    /// Judged on: the test part (the validation part while settings are chosen).
    pub judged: Dataset,
    /// Films of another kind, by name.
    pub others: Vec<(&'static str, Dataset)>,
    /// The way back to pictures; the user's own vectors have none.
    pub pictures: Option<Pictures>,
}

/// How vectors are drawn.
pub struct Pictures {
    /// The projection, fitted on the digits of the training part.
    pub frames: FourierFrames,
    /// The judged films as pixels.
    pub judged: Dataset,
}

impl Data {
    pub fn load(config: &Config, run: &Run) -> anyhow::Result<Self> {
        match run.preset().data_path() {
            Some(path) if !run.is_smoke() => own_films(config, path),
            _ => films_of_digits(config, run),
        }
    }
}

fn films_of_digits(config: &Config, run: &Run) -> anyhow::Result<Data> {
    let d = &config.data;
    let width = config.model.transformer.width;
    if width > N_PIXELS && !run.is_smoke() {
        return Err(usage(format!(
            "model.transformer.width = {width}: frames of moving digits have {N_PIXELS} pixels; give frames of your \
             own with --set data.path=FILE (tensors train, validation and test of [films, frames, width] in one \
             safetensors file)"
        )));
    }
    let is_held_out = |label: i64| d.held_out.contains(&label);
    let [train, validation, test] = digits_split()?;
    let seen = |set: &Dataset| of_classes(set, |label| !is_held_out(label));
    let (train, validation, test) = (seen(&train)?, seen(&validation)?, seen(&test)?);
    let frames = FourierFrames::fit(&train, width.min(N_PIXELS))?;
    let project = |films: &Dataset| -> anyhow::Result<Dataset> { padded(frames.project(films)?, width) };

    let known = velocities(1, d.speed);
    let judged_digits = if config.eval.part == "test" { &test } else { &validation };
    let judged = films(d, judged_digits, &known, d.n_eval, if config.eval.part == "test" { 2 } else { 3 })?;
    let fast = velocities(d.speed + 1, d.unseen_speed);
    let mut others = vec![("unseen_velocities", project(&films(d, judged_digits, &fast, d.n_eval, 4)?)?)];
    if !d.held_out.is_empty() {
        let unseen = of_classes(&digits()?, is_held_out)?;
        others.push(("unseen_digits", project(&films(d, &unseen, &known, d.n_eval, 5)?)?));
    }
    others.push(("clothes", project(&films(d, &fashion_8x8()?, &known, d.n_eval, 6)?)?));
    Ok(Data {
        train: Arc::new(project(&films(d, &train, &known, d.n_train, 0)?)?),
        validation: project(&films(d, &validation, &known, d.n_eval, 1)?)?,
        judged: project(&judged)?,
        others,
        pictures: (width <= N_PIXELS).then_some(Pictures { frames, judged }),
    })
}

/// Each set has films of its own: `set` chooses among seeds that belong to `data.seed`.
fn films(
    d: &DataSection,
    digits: &Dataset,
    velocities: &[[i32; 2]],
    n: usize,
    set: u64,
) -> ebm_core::Result<Dataset> {
    moving_digits(digits, velocities, n, d.n_frames, d.seed.wrapping_mul(1000).wrapping_add(set))
}

fn of_classes(set: &Dataset, wanted: impl Fn(i64) -> bool) -> anyhow::Result<Dataset> {
    let labels = set.labels().unwrap_or_default();
    let kept: Vec<usize> = (0..set.len()).filter(|&i| labels.get(i).is_some_and(|l| wanted(*l))).collect();
    if kept.is_empty() {
        return Err(usage(format!("data.held_out leaves no picture of {}", set.name())));
    }
    Ok(set.take(&kept)?)
}

/// Zeros behind each vector: only for a look at whether a wide network runs at all.
fn padded(films: Dataset, width: usize) -> anyhow::Result<Dataset> {
    let &[n_frames, narrow] = films.shape() else { anyhow::bail!("films of shape {:?}", films.shape()) };
    if narrow == width {
        return Ok(films);
    }
    let x = Array2::from_shape_fn((films.len(), n_frames * width), |(film, at)| {
        let (frame, number) = (at / width, at % width);
        if number < narrow { films.x()[[film, frame * narrow + number]] } else { 0.0 }
    });
    Ok(films.with_x(x, &[n_frames, width])?)
}

/// The tensors `train`, `validation` and `test` of a safetensors file.
fn own_films(config: &Config, path: &Path) -> anyhow::Result<Data> {
    let named = tensors::load(path)?;
    let part = |name: &str| {
        let Some((_, films)) = named.iter().find(|(n, _)| n == name) else {
            return Err(usage(format!("data.path: {} holds no tensor `{name}`", path.display())));
        };
        let (n_frames, width) = (config.data.n_frames, config.model.transformer.width);
        match films.size()[..] {
            [n, frames, w] if n > 0 && frames >= n_frames as i64 && w == width as i64 => {}
            _ => {
                return Err(usage(format!(
                    "data.path: `{name}` of {} has the shape {:?}: must be [films, at least {n_frames} frames, {width}]; \
                     or set data.n_frames, model.transformer.context and model.transformer.width",
                    path.display(),
                    films.size()
                )));
            }
        }
        let films = films.f_narrow(1, 0, n_frames as i64)?.f_to_kind(Kind::Float)?.f_flatten(0, -1)?;
        let values = Vec::<f32>::try_from(&films)?;
        let x = Array2::from_shape_vec((values.len() / (n_frames * width), n_frames * width), values)?;
        Ok(Dataset::new(name, x, &[n_frames, width])?)
    };
    let (train, validation) = (part("train")?, part("validation")?);
    let judged = if config.eval.part == "test" { part("test")? } else { validation.clone() };
    Ok(Data { train: Arc::new(train), validation, judged, others: Vec::new(), pictures: None })
}

/// Films as `[n, frames, width]` on the device.
pub fn tensor(films: &Dataset, device: Device) -> anyhow::Result<Tensor> {
    let shape = films.shape().iter().map(|n| *n as i64);
    let shape: Vec<i64> = std::iter::once(films.len() as i64).chain(shape).collect();
    Ok(tensor_of(films.values(), &shape, device)?)
}
