//! The training loop: batches to losses to steps, with checkpoints, exact resume and a divergence watch.

use std::sync::atomic::{AtomicBool, Ordering};

use ebm_core::torch::Params;
use ebm_core::{Error, Result, Schedule};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::checkpoint::{Checkpoints, Environment, Manifest, SCHEMA, Snapshot, sha256_hex};
use crate::data::BatchSource;
use crate::objectives::{Loss, Objective};
use crate::optim::{Ema, Named, Optimizer, OptimizerConfig, clip_by_norm, global_norm};
use crate::watch::{Event, Limits, Verdict, Watch};

/// How to train.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerConfig {
    /// Steps in all.
    pub n_steps: u64,
    /// Learning rate.
    pub learning_rate: Schedule,
    /// Which optimiser.
    pub optimizer: OptimizerConfig,
    /// Clip the gradients to this common norm.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are averaged before each step.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// Average the weights with this decay.
    #[serde(default)]
    pub ema_decay: Option<f64>,
    /// Steps between logged rows.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// The divergence watch.
    #[serde(default)]
    pub limits: Limits,
}

fn one() -> u64 {
    1
}

impl TrainerConfig {
    /// Whether every setting makes sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        let every = [("log_every", self.log_every), ("checkpoint_every", self.checkpoint_every)];
        let counts = [("n_steps", self.n_steps), ("accumulate", self.accumulate)];
        for (name, value) in every.into_iter().chain(counts) {
            if value == 0 {
                return Err(Error::bad_value(name, 0, "at least 1", ""));
            }
        }
        if let Some(max) = self.clip_norm
            && !(max > 0.0)
        {
            return Err(Error::bad_value("clip_norm", max, "above 0", "leave it out for no clipping"));
        }
        self.learning_rate.check("learning_rate", "at least 0 and finite", |lr| lr >= 0.0)?;
        self.limits.check()
    }
}

/// Watches training: progress bars, logs, pictures. Every method has a default that does nothing.
pub trait TrainObserver {
    /// A row of named numbers after `step` steps (every `log_every`).
    ///
    /// # Errors
    /// Ends training.
    fn log(&mut self, _step: u64, _values: &[(&str, f64)]) -> Result<()> {
        Ok(())
    }

    /// Images `[n, c, h, w]` of the objective after `step` steps (with each checkpoint).
    ///
    /// # Errors
    /// Ends training.
    fn images(&mut self, _step: u64, _name: &str, _images: &Tensor) -> Result<()> {
        Ok(())
    }

    /// Something happened.
    ///
    /// # Errors
    /// Ends training.
    fn event(&mut self, _event: &Event) -> Result<()> {
        Ok(())
    }

    /// Training went back to `step`: forget what was logged after it.
    ///
    /// # Errors
    /// Ends training.
    fn rewind(&mut self, _step: u64) -> Result<()> {
        Ok(())
    }
}

impl TrainObserver for () {}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were taken.
    Complete,
    /// Stopped on request; a checkpoint was saved.
    Interrupted,
    /// Given up after the last allowed roll-back.
    Diverged,
}

/// One training run of model `M` by objective `O`.
pub struct Trainer<'a, M: ?Sized, O> {
    config: TrainerConfig,
    config_sha256: String,
    seed: u64,
    model: &'a M,
    params: &'a Params,
    objective: &'a mut O,
    optimizer: Box<dyn Optimizer>,
    ema: Option<Ema>,
    checkpoints: Option<Checkpoints>,
    /// Kept only where there is no folder of checkpoints to roll back to.
    last_good: Option<Snapshot>,
    watch: Watch,
    step: u64,
    lr_factor: f64,
    rollbacks: u32,
    events: Vec<Event>,
}

impl<'a, M: ?Sized, O: Objective<M>> Trainer<'a, M, O> {
    /// A run at step 0. `identity` is whatever else fixes the run (the preset's text): a resume is refused when
    /// it changes. `params` are the model's.
    ///
    /// # Errors
    /// Impossible settings.
    pub fn new(
        config: TrainerConfig,
        identity: &str,
        seed: u64,
        model: &'a M,
        params: &'a Params,
        objective: &'a mut O,
    ) -> Result<Self> {
        config.check()?;
        let text = serde_json::to_string(&config).map_err(Error::user)?;
        Ok(Self {
            optimizer: config.optimizer.build(params)?,
            ema: config.ema_decay.map(|decay| Ema::new(decay, params)).transpose()?,
            config_sha256: sha256_hex(format!("{identity}\n{text}").as_bytes()),
            config,
            seed,
            model,
            params,
            objective,
            checkpoints: None,
            last_good: None,
            watch: Watch::default(),
            step: 0,
            lr_factor: 1.0,
            rollbacks: 0,
            events: Vec::new(),
        })
    }

    /// Save checkpoints to this folder.
    pub fn with_checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Go on from the newest checkpoint, if there is one; returns the step. With `force`, another environment
    /// (threads, CPU, LibTorch) is a warning instead of an error, and an event.
    ///
    /// # Errors
    /// No checkpoint can be read, or it belongs to another run.
    pub fn resume(&mut self, force: bool) -> Result<u64> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(0) };
        if let Some(snapshot) = checkpoints.latest()? {
            let Manifest { environment: there, .. } = &snapshot.manifest;
            let here = Environment::current(self.params.device());
            let assumed = if force { there } else { &here };
            snapshot.manifest.check_belongs(&self.config_sha256, self.seed, assumed)?;
            self.restore(&snapshot)?;
            self.lr_factor = snapshot.manifest.lr_factor;
            self.rollbacks = snapshot.manifest.rollbacks;
            self.events.clone_from(&snapshot.manifest.events);
            if here != *there {
                let detail = format!("begun in {there:?}, resumed by force in {here:?}");
                tracing::warn!("{detail}");
                self.events.push(Event { step: self.step, kind: "forced".to_owned(), detail });
            }
        }
        Ok(self.step)
    }

    /// Steps taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// What happened so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The objective, for its samples.
    pub fn objective(&self) -> &O {
        self.objective
    }

    /// Averaged weights, if asked for.
    pub fn ema_weights(&self) -> Option<Named> {
        self.ema.as_ref().map(Ema::weights)
    }

    /// Averaged weights, if asked for, else the trained ones.
    pub fn weights(&self) -> Named {
        match &self.ema {
            Some(ema) => ema.weights(),
            None => self.params.named().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect(),
        }
    }

    /// Train to the last step. `stop` is looked at before every step.
    ///
    /// # Errors
    /// What the objective, the data, the observer or the file system returns. Divergence is an [`Outcome`].
    pub fn run(
        &mut self,
        source: &mut dyn BatchSource,
        observer: &mut dyn TrainObserver,
        stop: &AtomicBool,
    ) -> Result<Outcome> {
        if self.step == 0 {
            self.save()?;
        }
        while self.step < self.config.n_steps {
            if stop.load(Ordering::Relaxed) {
                // Only a good state is worth saving; after a bad one the checkpoint before it is resumed from.
                if self.watch.peek(&self.config.limits)? {
                    self.save()?;
                }
                return Ok(Outcome::Interrupted);
            }
            let (loss, grads) = self.gradients(source)?;
            let norm = self.update(grads)?;
            let gap = loss.metrics.iter().find(|(name, _)| *name == "energy_gap").map(|(_, t)| t);
            self.watch.record(&loss.loss, gap, &norm)?;
            self.step += 1;

            let last = self.step == self.config.n_steps;
            let due = |every: u64| self.step.is_multiple_of(every) || last;
            let (log, checkpoint) = (due(self.config.log_every), due(self.config.checkpoint_every));
            // A checkpoint must be good: look before saving one.
            if due(self.config.limits.check_every) || checkpoint {
                match self.watch.check(&self.config.limits)? {
                    Verdict::Fine if checkpoint => self.save()?,
                    // The end is saved even when it looks odd: there is no later check to wait for.
                    Verdict::Suspicious if last => self.save()?,
                    Verdict::Fine | Verdict::Suspicious => {}
                    Verdict::Diverged(why) => {
                        if !self.roll_back(&why, observer)? {
                            return Ok(Outcome::Diverged);
                        }
                        continue;
                    }
                }
            }
            if log {
                self.log(&loss, &norm, observer)?;
            }
            if checkpoint {
                for (name, images) in self.objective.images()? {
                    observer.images(self.step, name, &images)?;
                }
            }
        }
        Ok(Outcome::Complete)
    }

    /// The step's gradients, the mean over its batches, and what the last batch reported with the mean loss.
    fn gradients(&mut self, source: &mut dyn BatchSource) -> Result<(Loss, Vec<Tensor>)> {
        let n = self.config.accumulate;
        let mut sum: Option<(Tensor, Vec<Tensor>)> = None;
        for i in 0..n {
            // Batches and random streams count on as if each batch were a step.
            let at = self.step * n + i;
            let batch = source.batch(at)?;
            let mut loss = self.objective.loss(self.model, &batch, at)?;
            let grads = match loss.gradients.take() {
                Some(grads) => grads,
                None => self.backward(&loss.loss)?,
            };
            if n == 1 {
                return Ok((loss, grads));
            }
            let share = 1.0 / n as f64;
            let (mut total, mut all) = match sum.take() {
                Some(sum) => sum,
                None => (loss.loss.f_detach()?.f_zeros_like()?, Vec::new()),
            };
            total = total.f_add(&loss.loss.f_detach()?.f_mul_scalar(share)?)?;
            for (k, grad) in grads.into_iter().enumerate() {
                let part = grad.f_mul_scalar(share)?;
                match all.get_mut(k) {
                    Some(g) => *g = Tensor::f_add(g, &part)?,
                    None => all.push(part),
                }
            }
            if i + 1 == n {
                loss.loss = total;
                return Ok((loss, all));
            }
            sum = Some((total, all));
        }
        Err(Error::bad_value("accumulate", 0, "at least 1", ""))
    }

    fn backward(&self, loss: &Tensor) -> Result<Vec<Tensor>> {
        let params = self.params.tensors();
        let mut grads = Tensor::f_run_backward(&[loss], &params, false, false)?;
        for (grad, p) in grads.iter_mut().zip(&params) {
            if !grad.defined() {
                *grad = p.f_zeros_like()?;
            }
        }
        Ok(grads)
    }

    /// One optimiser step; returns the gradients' norm before clipping, on the device.
    fn update(&mut self, mut grads: Vec<Tensor>) -> Result<Tensor> {
        let norm = global_norm(&grads)?;
        if let Some(max) = self.config.clip_norm {
            clip_by_norm(&mut grads, &norm, max)?;
        }
        let lr = self.lr_factor * self.config.learning_rate.at(self.step);
        self.optimizer.step(&grads, lr)?;
        if let Some(ema) = &mut self.ema {
            ema.update(self.params)?;
        }
        Ok(norm)
    }

    fn log(&self, loss: &Loss, norm: &Tensor, observer: &mut dyn TrainObserver) -> Result<()> {
        let mut names = vec!["loss", "grad_norm"];
        let mut tensors = vec![loss.loss.f_detach()?.f_to_kind(Kind::Double)?, norm.f_to_kind(Kind::Double)?];
        for (name, tensor) in loss.metrics.iter().chain(&self.objective.diagnostics(self.model)?) {
            names.push(name);
            tensors.push(tensor.f_to_kind(Kind::Double)?);
        }
        let values: Vec<f64> = Vec::try_from(&Tensor::f_stack(&tensors, 0)?)?; // host read: a row is due
        let mut row: Vec<(&str, f64)> = names.into_iter().zip(values).collect();
        row.push(("learning_rate", self.lr_factor * self.config.learning_rate.at(self.step - 1)));
        observer.log(self.step, &row)
    }

    /// Back to the last good checkpoint at half the learning rate; false when that was allowed too often.
    fn roll_back(&mut self, why: &str, observer: &mut dyn TrainObserver) -> Result<bool> {
        let give_up = self.rollbacks >= self.config.limits.max_rollbacks;
        let noticed = self.step;
        let (kind, done) = if give_up {
            ("diverged", format!("given up after {} roll-backs", self.rollbacks))
        } else {
            self.rollbacks += 1;
            self.lr_factor *= 0.5;
            self.go_to_last_good()?;
            ("rollback", format!("back to step {}, learning rate times {}", self.step, self.lr_factor))
        };
        let event = Event { step: noticed, kind: kind.to_owned(), detail: format!("{why}; {done}") };
        tracing::warn!("step {noticed}: {}", event.detail);
        observer.event(&event)?;
        self.events.push(event);
        if !give_up {
            observer.rewind(self.step)?;
            self.watch = Watch::default();
            // The halved rate and the event must survive a kill before the next checkpoint.
            self.save()?;
        }
        Ok(!give_up)
    }

    fn go_to_last_good(&mut self) -> Result<()> {
        let snapshot = match &self.checkpoints {
            Some(checkpoints) => checkpoints.latest()?,
            None => self.last_good.take(),
        };
        let snapshot = snapshot.ok_or_else(|| Error::user("there is no checkpoint to roll back to"))?;
        // A folder that another run left its checkpoints in must not be rolled back to.
        let own = &snapshot.manifest.environment;
        snapshot.manifest.check_belongs(&self.config_sha256, self.seed, own)?;
        self.restore(&snapshot)
    }

    fn save(&mut self) -> Result<()> {
        let mut snapshot = self.snapshot()?;
        match &self.checkpoints {
            Some(checkpoints) => checkpoints.save(&mut snapshot),
            None => {
                // Shared handles would follow the training; a snapshot in memory needs its own copies.
                for (_, tensor) in &mut snapshot.tensors {
                    *tensor = tensor.f_detach()?.copy();
                }
                self.last_good = Some(snapshot);
                Ok(())
            }
        }
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut tensors = prefixed("param", self.params.named());
        tensors.extend(prefixed("optim", &self.optimizer.state()));
        if let Some(ema) = &self.ema {
            tensors.extend(ema.state());
        }
        let (objective_tensors, objective) = self.objective.state()?;
        tensors.extend(prefixed("objective", &objective_tensors));
        let manifest = Manifest {
            schema: SCHEMA,
            step: self.step,
            seed: self.seed,
            config_sha256: self.config_sha256.clone(),
            environment: Environment::current(self.params.device()),
            optimizer_steps: self.optimizer.n_steps(),
            lr_factor: self.lr_factor,
            rollbacks: self.rollbacks,
            objective,
            events: self.events.clone(),
            tensors_sha256: String::new(),
        };
        Ok(Snapshot { tensors, manifest })
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let part = |prefix: &str| -> Named {
            let own =
                |(n, t): &(String, Tensor)| Some((n.strip_prefix(prefix)?.to_owned(), t.shallow_clone()));
            snapshot.tensors.iter().filter_map(own).collect()
        };
        self.params.load(&part("param."))?;
        self.optimizer.restore(&part("optim."), snapshot.manifest.optimizer_steps)?;
        if let Some(ema) = &mut self.ema {
            ema.restore(&snapshot.tensors)?;
        }
        self.objective.restore(&part("objective."), &snapshot.manifest.objective)?;
        self.step = snapshot.manifest.step;
        Ok(())
    }
}

fn prefixed(prefix: &str, named: &[(String, Tensor)]) -> Named {
    named.iter().map(|(name, t)| (format!("{prefix}.{name}"), t.shallow_clone())).collect()
}
