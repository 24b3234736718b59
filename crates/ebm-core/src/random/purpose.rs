//! What a random stream is for; streams of different purposes never share a number.

use serde::{Deserialize, Serialize};

/// The purpose of a stream. The discriminant enters the counter: never renumber, only append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum Purpose {
    /// A Markov chain, or a block of 64 chains; the index is the chain or the block.
    Chain = 0,
    /// Parameter initialisation; the index is the parameter's number.
    Init = 1,
    /// Chains' start points.
    Start = 2,
    /// The order of a data set; the index is the epoch.
    Shuffle = 3,
    /// Splitting data into parts.
    Split = 4,
    /// Noise added to data.
    DataNoise = 5,
    /// Random augmentation of data.
    Augment = 6,
    /// Dropout masks.
    Dropout = 7,
    /// Replay buffer: which slots are drawn, which are started anew.
    Replay = 8,
    /// Chains run inside a training objective.
    Negative = 9,
    /// Noise inside an objective (denoising score matching).
    Objective = 10,
    /// Bootstrap resampling.
    Bootstrap = 11,
    /// Synthetic data.
    Synthetic = 12,
    /// Evaluation: chains, noise and subsets used for metrics.
    Evaluation = 13,
    /// Whatever a user's own code draws.
    User = 14,
}
