//! Training of energy-based models: objectives, optimisers, the trainer, checkpoints and logs.
//!
//! * [`objectives`]: contrastive divergence, its persistent form, denoising score matching; one file each.
//! * [`optim`]: AdamW and SGD whose state is saved, gradient clipping, averaged weights.
//! * [`Trainer`]: the loop, with divergence watch and exact resume; [`Checkpoints`]: what it saves.
//! * [`logs`]: JSON lines, TensorBoard events, image grids.

pub mod checkpoint;
pub mod data;
pub mod logs;
pub mod objectives;
pub mod optim;
pub mod tensors;
mod trainer;
mod watch;

pub use checkpoint::{Checkpoints, Manifest};
pub use data::{BatchSource, DatasetSource, TokenSource};
pub use objectives::{Batch, Loss, Objective};
pub use trainer::{Outcome, TrainObserver, Trainer, TrainerConfig};
pub use watch::{Event, Limits};
