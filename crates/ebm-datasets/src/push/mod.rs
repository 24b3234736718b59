//! A small control task: push a disc through a gap in a wall into a slot.
//!
//! The square is `[-1, 1]^2`; a wall stands at `x = 0.2`, with one gap of 0.5 in the middle or with two; behind it is a
//! slot 0.3 wide, at the border. An action is the velocity that the agent should take, at 10 Hz; the physics
//! runs at 100 Hz. Success is the disc's centre in the slot within 8 seconds.
//!
//! - [`World`] is the physics, [`EpisodeId`] names a seeded start and shove;
//! - [`demonstrations()`] runs the scripted [`Expert`], [`windows`] cuts what policies learn from;
//! - [`rollouts`] runs any [`Policy`] over many episodes in step, so that a network runs batched;
//! - [`draw`] makes PNG sheets and GIF films (feature `pictures`).

mod demonstrations;
#[cfg(feature = "pictures")]
pub mod draw;
mod episode;
mod expert;
mod geometry;
mod rollout;
mod world;

pub use demonstrations::{
    ACTION, Demonstration, OBSERVATION, TA, TO, TP, WINDOW, action_rms, demonstrate, demonstrations, windows,
};
pub use episode::{EpisodeId, MAX_ACTIONS, SHOVE, Shove, Split};
pub use expert::Expert;
pub use geometry::{Rect, Vec2, penetration};
pub use rollout::{Chunk, Decision, Episode, Policy, Rollouts, ScaledPolicy, rollouts};
pub use world::{
    AGENT_RADIUS, DISC_RADIUS, GAP_HALF_WIDTH, GAP_OFFSET, LAG, PHYSICS_STEP, SLOT_HALF_WIDTH, SLOT_X,
    STEPS_PER_ACTION, State, Variant, WALL_X, World,
};
