//! Text from an EBT, token by token: a descent for the next token over a cache of observed keys and values.
//!
//! The cache grows by one row a token, in each landscape; nothing of the observed stream is computed twice. Several
//! candidates may be descended and the one of the lowest energy taken (self-verification).

use ebm_core::random::{Purpose, Stream};
use ebm_core::torch::TensorRng;
use ebm_core::{Error, Result, StepRng};
use ebm_samplers::descent::{At, BestOf, Criterion, Descent, Graph, Landscape};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::next::Next;
use super::text::EbtText;

/// How to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateConfig {
    /// Tokens to write.
    pub n_tokens: usize,
    /// The descent of each token.
    pub descent: Descent,
    /// 0 takes the likeliest token, 1 draws from the prediction, in between sharper.
    pub temperature: f64,
    /// Candidates of which the one of the lowest energy is taken.
    pub n_candidates: usize,
    /// Seed of the starts and the draws.
    pub seed: u64,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        let descent = super::s1(2).prediction(2, false);
        Self { n_tokens: 100, descent, temperature: 0.8, n_candidates: 1, seed: 0 }
    }
}

/// A token that was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: i64,
    /// The energy of the prediction that it was drawn from.
    pub energy: f64,
    /// The energy that the prediction started from.
    pub first_energy: f64,
    /// Nats of surprise under the prediction.
    pub nats: f64,
}

/// Writes after a prompt.
pub struct Generator<'a> {
    net: &'a EbtText,
    config: GenerateConfig,
    next: Next<'a>,
    recent: Vec<i64>,
    written: u64,
}

impl<'a> Generator<'a> {
    /// Reads the prompt.
    ///
    /// # Errors
    /// An empty prompt, one longer than the context, a token outside the vocabulary, impossible settings.
    pub fn new(net: &'a EbtText, prompt: &[i64], config: GenerateConfig) -> Result<Self> {
        config.descent.check()?;
        if config.n_candidates == 0 {
            return Err(Error::bad_value("n_candidates", 0, "at least 1", ""));
        }
        if !(config.temperature >= 0.0 && config.temperature.is_finite()) {
            return Err(Error::bad_value("temperature", config.temperature, "at least 0 and finite", ""));
        }
        if prompt.is_empty() {
            return Err(Error::bad_value(
                "prompt",
                "''",
                "at least one token",
                "begin with a word or a line break",
            ));
        }
        let tokens = Tensor::f_from_slice(prompt)?.f_view([1, prompt.len() as i64])?;
        net.check_tokens(&tokens)?;
        let next = Next::new(net, config.descent.graph != Graph::None)?;
        let mut generator = Self { net, config, next, recent: prompt.to_vec(), written: 0 };
        generator.read_recent()?;
        Ok(generator)
    }

    fn device(&self) -> Device {
        self.net.alpha().device()
    }

    fn read_recent(&mut self) -> Result<()> {
        let tokens = Tensor::f_from_slice(&self.recent)?.f_view([1, self.recent.len() as i64])?;
        self.next.read(&tokens.f_to_device(self.device())?)
    }

    /// Write one token. When the context is full, the newer half of it is read anew.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn next_token(&mut self) -> Result<Token> {
        let context = self.net.config().transformer.context;
        if self.recent.len() > context {
            let from = self.recent.len() - context.div_ceil(2);
            self.recent.drain(..from);
            self.read_recent()?;
        }
        let token = self.predict()?;
        self.recent.push(token.id);
        self.written += 1;
        if self.recent.len() <= context {
            let id = Tensor::f_from_slice(&[token.id])?.f_view([1, 1])?.f_to_device(self.device())?;
            self.next.grow(&id)?;
        }
        Ok(token)
    }

    fn predict(&self) -> Result<Token> {
        let GenerateConfig { descent, temperature, n_candidates, seed, .. } = &self.config;
        let mut rng = TensorRng::new(*seed, Purpose::Evaluation);
        rng.begin_step(self.written);
        let alpha = self.net.alpha().f_detach()?;
        let size = [1, 1, self.net.config().vocabulary as i64];
        let mut best = BestOf::new(Criterion::LowestEnergy);
        for _ in 0..*n_candidates {
            let start = rng.normal(&size, 1.0, alpha.kind(), self.device())?;
            let run = descent.run(&self.next, &start, &alpha, &mut rng)?;
            let p = run.last.f_softmax(-1, alpha.kind())?;
            let mut at = At { step: run.energies.len(), noise_std: 0.0, rng: &mut rng };
            let energy = tch::no_grad(|| self.next.energy(&p, &mut at))?;
            // The start's energy travels with the candidate.
            let first = run.energies[0].f_unsqueeze(-1)?;
            best.offer(&Tensor::f_cat(&[run.last, first], -1)?, &run.energies[0], &energy)?;
        }
        let (winner, energy, _) = best.finish()?;
        let numbers: Vec<f64> = Vec::try_from(&winner.f_to_kind(Kind::Double)?.f_reshape(-1)?)?; // host read: a token
        let (first_energy, logits) = numbers.split_last().ok_or_else(|| Error::shape("logits", 1, 0))?;
        let id = self.choose(logits, *temperature)?;
        let most = logits.iter().copied().fold(f64::MIN, f64::max);
        let log_z = most + logits.iter().map(|z| (z - most).exp()).sum::<f64>().ln();
        let energy = energy.f_to_kind(Kind::Double)?.f_double_value(&[0, 0])?; // host read: a token
        Ok(Token { id: id as i64, energy, first_energy: *first_energy, nats: log_z - logits[id] })
    }

    fn choose(&self, logits: &[f64], temperature: f64) -> Result<usize> {
        if logits.iter().any(|z| !z.is_finite()) {
            return Err(Error::user(
                "the prediction is not finite: the step size is too large for these weights",
            ));
        }
        let likeliest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0);
        if temperature == 0.0 {
            return Ok(likeliest);
        }
        let weights: Vec<f64> =
            logits.iter().map(|z| ((z - logits[likeliest]) / temperature).exp()).collect();
        let mut left = Stream::new(self.config.seed, Purpose::Evaluation, 1 + self.written).uniform()
            * weights.iter().sum::<f64>();
        for (id, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return Ok(id);
            }
        }
        Ok(likeliest)
    }

    /// Write `n_tokens` tokens.
    ///
    /// # Errors
    /// As [`Generator::next_token`].
    pub fn run(&mut self) -> Result<Vec<Token>> {
        (0..self.config.n_tokens).map(|_| self.next_token()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CONTEXT, tiny, tokens};
    use super::super::{Variant, s1};
    use super::*;

    fn prompt() -> Vec<i64> {
        Vec::try_from(&tokens(1, 2).view(-1)).unwrap()
    }

    /// The cached path against the parallel form on the whole text, token by token, in f64.
    #[test]
    fn the_cache_changes_nothing() {
        for variant in [Variant::Default, Variant::TimeEmbedding(2)] {
            let (net, _params) = tiny(variant, Kind::Double);
            let config = GenerateConfig { temperature: 1.0, ..GenerateConfig::default() };
            let mut generator = Generator::new(&net, &prompt(), config.clone()).unwrap();
            for written in 0..CONTEXT as u64 - 2 {
                let before = generator.recent.clone();
                let token = generator.next_token().unwrap();
                let s = before.len() as i64;
                let text = Tensor::from_slice(&before).view([1, s]);
                let mut rng = TensorRng::new(config.seed, Purpose::Evaluation);
                rng.begin_step(written);
                let mut noise = rng;
                let one = noise.normal(&[1, 1, 7], 1.0, Kind::Double, Device::Cpu).unwrap();
                let start = one.repeat([1, s, 1]);
                let landscape = net.recomputing_landscape(&text);
                let alpha = net.alpha().detach();
                let run = s1(2).prediction(2, false).run(&landscape, &start, &alpha, &mut rng).unwrap();
                let p = run.last.softmax(-1, Kind::Double);
                let mut at = At { step: 2, noise_std: 0.0, rng: &mut rng };
                let energy = landscape.energy(&p, &mut at).unwrap().double_value(&[0, s - 1]);
                assert!((energy - token.energy).abs() < 1e-10, "{energy} {}", token.energy);
                let nats = -run.last.log_softmax(-1, Kind::Double).double_value(&[0, s - 1, token.id]);
                assert!((nats - token.nats).abs() < 1e-10);
            }
        }
    }

    /// By hand and by autograd: the same text, energies and surprises; beyond the context too.
    #[test]
    fn both_paths_write_the_same() {
        for variant in [Variant::Default, Variant::TimeEmbedding(2)] {
            let (net, _params) = tiny(variant, Kind::Float);
            let config = GenerateConfig { n_tokens: 12, temperature: 0.0, ..GenerateConfig::default() };
            let mut by_autograd = config.clone();
            by_autograd.descent.graph = Graph::PerStep;
            let write = |config| Generator::new(&net, &prompt(), config).unwrap().run().unwrap();
            for (a, b) in write(config).iter().zip(&write(by_autograd)) {
                assert_eq!(a.id, b.id);
                let pairs = [(a.energy, b.energy), (a.first_energy, b.first_energy), (a.nats, b.nats)];
                assert!(pairs.iter().all(|(a, b)| (a - b).abs() < 1e-5 * b.abs().max(1.0)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn texts_outgrow_the_context_and_depend_on_the_seed_alone() {
        let (net, _params) = tiny(Variant::Default, Kind::Float);
        let write = |config: GenerateConfig| Generator::new(&net, &prompt(), config).unwrap().run().unwrap();
        let config =
            GenerateConfig { n_tokens: 30, n_candidates: 3, temperature: 2.0, ..GenerateConfig::default() };
        let text = write(config.clone());
        assert_eq!(text.len(), 30);
        assert_eq!(text, write(config.clone()));
        assert!(text != write(GenerateConfig { seed: 1, ..config.clone() }));
        assert!(text.iter().all(|t| t.nats >= 0.0 && t.energy.is_finite()));
    }

    #[test]
    fn wrong_prompts_are_named() {
        let (net, _params) = tiny(Variant::Default, Kind::Float);
        let fails = |prompt: &[i64], config: GenerateConfig, text: &str| {
            let error = Generator::new(&net, prompt, config).err().unwrap().to_string();
            assert!(error.contains(text), "{error}");
        };
        let config = GenerateConfig::default;
        fails(&[], config(), "prompt = ''");
        fails(&[99], config(), "vocabulary's 7");
        fails(&[1; 6], config(), "at most the context 5");
        fails(&[1], GenerateConfig { n_candidates: 0, ..config() }, "n_candidates");
        fails(&[1], GenerateConfig { temperature: -1.0, ..config() }, "temperature");
    }
}
