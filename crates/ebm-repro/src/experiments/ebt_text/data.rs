//! The text of the experiment as windows of bytes, and the sets that are out of distribution.

use std::path::Path;
use std::sync::Arc;

use ebm_core::random::{Purpose, Stream};
use ebm_datasets::text::{
    Corpus, Parts, Texts, Tokenizer, Windows, brackets, german, javascript, moby_dick, shuffled_words,
    state_of_the_union, texts_at,
};
use ebm_train::data::token_tensor;
use tch::{Device, Tensor};

use super::config::Config;
use crate::run::Run;
use crate::usage::usage;

/// English prose of the repository, for `--smoke`.
const SMOKE: &str = include_str!("../../../../../LICENSE-APACHE");

/// Windows of each part.
pub struct Data {
    pub train: Arc<Windows>,
    pub validation: Windows,
    /// Judged on: the test part, or the validation part while settings are chosen.
    pub judged: Windows,
    /// Named sets of another kind.
    pub outliers: Vec<(&'static str, Windows)>,
}

impl Data {
    pub fn load(config: &Config, run: &Run) -> anyhow::Result<Self> {
        if config.data.source == "token-files" && !run.is_smoke() {
            return Self::token_files(config);
        }
        let own = run.preset().data_path();
        let is_own = own.is_some();
        let parts = match own {
            _ if run.is_smoke() => Texts::new("smoke", vec![SMOKE.to_owned()])?.split_contiguous()?,
            Some(path) => texts_at(path).map_err(|e| usage(format!("data.path: {e}")))?,
            None if config.data.source == "sotu" => {
                run.data_set("sotu")?;
                state_of_the_union(run.data_dir())?
            }
            None => {
                return Err(usage(format!(
                    "data.source = {}: no package holds this text; give your own with --set data.path=FILE",
                    config.data.source
                )));
            }
        };
        let context = config.model.transformer.context;
        let windows = |texts: &Texts| -> anyhow::Result<Windows> {
            let corpus = Corpus::encode(texts, &Tokenizer::Bytes)?;
            Windows::new(Arc::new(corpus), context).map_err(|e| usage(format!("data: {e}")))
        };
        let judged = if config.eval.part == "validation" { &parts.validation } else { &parts.test };
        let judged_windows = windows(judged)?; // first, so that a short text is told as that
        let mut sets = Vec::new();
        if config.eval.n_outlier_windows > 0 {
            let mut stream = Stream::new(run.seed(), Purpose::Evaluation, 0);
            // Brackets as long as a window needs, an even number of them.
            let length = 2 * (context + 1);
            sets.push(("shuffled words", shuffled_words(judged, &mut stream)?));
            let n = config.eval.n_outlier_windows;
            sets.push(("brackets", brackets::brackets(n, length, &mut stream)?));
        }
        if !(sets.is_empty() || run.is_smoke() || is_own) {
            let folder = run.data_dir();
            for name in ["moby-dick", "fortunes-de", "stdlib-js"] {
                run.data_set(name)?;
            }
            sets.extend([
                ("Moby-Dick", moby_dick(folder)?),
                ("German", german(folder)?),
                ("JavaScript", javascript(folder)?),
            ]);
        }
        let outliers =
            sets.iter().map(|(name, texts)| Ok((*name, windows(texts)?))).collect::<anyhow::Result<_>>()?;
        let Parts { train, validation, .. } = parts.try_map(|texts| {
            let corpus = Corpus::encode(&texts, &Tokenizer::Bytes)?;
            Windows::new(Arc::new(corpus), context)
        })?;
        Ok(Self { train: Arc::new(train), validation, judged: judged_windows, outliers })
    }
}

impl Data {
    /// Corpora that were tokenised before, mapped: they may be larger than memory.
    fn token_files(config: &Config) -> anyhow::Result<Self> {
        let windows = |key: &str, path: &str| -> anyhow::Result<Windows> {
            if path.is_empty() {
                return Err(usage(format!(
                    "data.{key} is empty: name a token file with --set data.{key}=FILE"
                )));
            }
            let corpus = Corpus::open(Path::new(path)).map_err(|e| usage(format!("data.{key}: {e}")))?;
            if corpus.vocabulary() > config.model.vocabulary {
                return Err(usage(format!(
                    "data.{key}: tokens of a vocabulary of {}, the model has {}: set model.vocabulary",
                    corpus.vocabulary(),
                    config.model.vocabulary
                )));
            }
            Windows::new(Arc::new(corpus), config.model.transformer.context)
                .map_err(|e| usage(format!("data.{key}: {e}")))
        };
        let data = &config.data;
        let [train, validation] = [("path", &data.path), ("validation", &data.validation)];
        let judged = if config.eval.part == "validation" { validation } else { ("test", &data.test) };
        Ok(Self {
            train: Arc::new(windows(train.0, train.1)?),
            validation: windows(validation.0, validation.1)?,
            judged: windows(judged.0, judged.1)?,
            outliers: Vec::new(),
        })
    }
}

/// `n` windows in order, evenly taken, as tokens `[n, context + 1]`.
pub fn evenly(windows: &Windows, n: usize, device: Device) -> anyhow::Result<Tensor> {
    let every = (windows.n_in_order() / n).max(1);
    let chosen: Vec<_> = windows.in_order().step_by(every).take(n).collect();
    Ok(token_tensor(&windows.tokens(&chosen)?, device)?)
}
