//! Demonstrations of the expert, and their windows: what the policies learn from.
//!
//! A window is `TO` observations and `TP` actions that begin at the same time. Where it reaches over an end of the
//! episode, the first or last frame is repeated; windows begin `TO - 1` frames before the episode and end at most
//! `TA - 1` after it, as in the released code of Diffusion Policy (arXiv 2303.04137).

use ebm_core::{Error, Result};
use ndarray::Array2;

use super::episode::{EpisodeId, MAX_ACTIONS, Split};
use super::expert::Expert;
use super::geometry::Vec2;
use super::world::{State, World};
use crate::Dataset;

/// Observations that a policy sees.
pub const TO: usize = 2;
/// Actions that a policy predicts.
pub const TP: usize = 16;
/// Actions of these that are executed, from number `TO - 1` on.
pub const TA: usize = 8;
/// Numbers of an observation.
pub const OBSERVATION: usize = 6;
/// Numbers of an action.
pub const ACTION: usize = 2;
/// Numbers of a window: observations, then actions.
pub const WINDOW: usize = TO * OBSERVATION + TP * ACTION;

/// An episode of the expert.
#[derive(Clone, Debug)]
pub struct Demonstration {
    /// The states that it saw, one for each action.
    pub states: Vec<State>,
    /// What it wanted to do. What it did carried noise, so these actions correct small errors.
    pub actions: Vec<Vec2>,
    /// Whether the disc came into the slot.
    pub solved: bool,
}

/// One episode of the expert with this noise.
///
/// # Errors
/// None for a finite `noise_std`.
pub fn demonstrate(world: &World, id: EpisodeId, noise_std: f64) -> Result<Demonstration> {
    let mut state = id.start(world);
    let mut expert = Expert::new(world.variant(), noise_std, id.noise());
    let (mut states, mut actions) = (Vec::new(), Vec::new());
    while !state.solved() && actions.len() < MAX_ACTIONS {
        let (wanted, done) = expert.act(&state);
        states.push(state);
        actions.push(wanted);
        state = world.act(&state, done)?;
    }
    Ok(Demonstration { states, actions, solved: state.solved() })
}

/// The first `n` successful episodes under `seed`: failures are not demonstrations.
///
/// # Errors
/// No episode asked for, or an impossible noise.
pub fn demonstrations(world: &World, seed: u64, n: usize, noise_std: f64) -> Result<Vec<Demonstration>> {
    if n == 0 {
        return Err(Error::bad_value("data.n_demonstrations", 0, "at least 1", "200 is usual"));
    }
    if !(0.0..=0.5).contains(&noise_std) {
        return Err(Error::bad_value("data.action_noise", noise_std, "between 0 and 0.5", ""));
    }
    let mut kept = Vec::new();
    for number in 0..2 * n as u64 + 20 {
        let one = demonstrate(world, EpisodeId { seed, split: Split::Demonstration, number }, noise_std)?;
        if one.solved {
            kept.push(one);
            if kept.len() == n {
                return Ok(kept);
            }
        }
    }
    Err(Error::bad_value(
        "data.action_noise",
        noise_std,
        "small enough for the expert to succeed",
        "try 0.05",
    ))
}

/// The root mean square of the actions' components.
pub fn action_rms(episodes: &[Demonstration]) -> f64 {
    let (sum, n) = episodes
        .iter()
        .flat_map(|e| e.actions.as_flattened())
        .fold((0.0, 0), |(sum, n), a| (sum + a * a, n + 1));
    (sum / f64::from(n.max(1))).sqrt()
}

/// All windows of the episodes, one a row: `[windows, WINDOW]`. Actions are divided by `action_scale` (1 leaves them);
/// [`super::ScaledPolicy`] undoes it.
///
/// # Errors
/// No episodes, or a scale that is not above 0.
pub fn windows(episodes: &[Demonstration], action_scale: f64) -> Result<Dataset> {
    if !(action_scale > 0.0 && action_scale.is_finite()) {
        return Err(Error::bad_value("action_scale", action_scale, "above 0 and finite", "1 leaves actions"));
    }
    let mut rows = Vec::new();
    for episode in episodes {
        let length = episode.actions.len() as i64;
        let last = length - TP as i64 + TA as i64 - 1;
        for begin in 1 - TO as i64..=last {
            let frame = |offset: usize| (begin + offset as i64).clamp(0, length - 1) as usize;
            for t in 0..TO {
                rows.extend(episode.states[frame(t)].observation());
            }
            for t in 0..TP {
                rows.extend(episode.actions[frame(t)].map(|a| (a / action_scale) as f32));
            }
        }
    }
    let n = rows.len() / WINDOW;
    let x = Array2::from_shape_vec((n, WINDOW), rows).map_err(Error::user)?;
    Dataset::new("push demonstrations", x, &[WINDOW])
}

#[cfg(test)]
mod tests {
    use super::super::rollout::{Chunk, Policy, ScaledPolicy};
    use super::super::world::Variant;
    use super::*;

    #[test]
    fn windows_repeat_the_ends_and_hold_the_actions_of_their_time() {
        let state = |i: usize| State { agent: [i as f64, 0.0], velocity: [0.0; 2], disc: [0.0; 2] };
        let n = 12;
        let episode = Demonstration {
            states: (0..n).map(state).collect(),
            actions: (0..n).map(|i| [i as f64 / 100.0, 0.0]).collect(),
            solved: true,
        };
        let set = windows(&[episode], 1.0).unwrap();
        // From -1 to 12 - 16 + 8 - 1 = 3.
        assert_eq!(set.len(), 5);
        let row = |i: usize| {
            let row = set.item(i).unwrap();
            let seen: Vec<f32> = (0..TO).map(|t| row[t * OBSERVATION]).collect();
            let acts: Vec<i32> =
                (0..TP).map(|t| (100.0 * row[TO * OBSERVATION + t * ACTION]).round() as i32).collect();
            (seen, acts)
        };
        let (seen, acts) = row(0);
        assert_eq!(seen, [0.0, 0.0]);
        assert_eq!(acts, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 11, 11]);
        let (seen, acts) = row(4);
        assert_eq!(seen, [3.0, 4.0]);
        assert_eq!(acts[..9], [3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert!(acts[9..].iter().all(|a| *a == 11));
    }

    #[test]
    fn actions_in_units_of_their_rms_are_multiplied_back() {
        struct Says([[f32; ACTION]; TP]);
        impl Policy for Says {
            fn act(
                &mut self,
                history: &[[[f32; OBSERVATION]; TO]],
                _: &[usize],
                _: usize,
            ) -> Result<Vec<Chunk>> {
                Ok(history.iter().map(|_| Chunk { actions: self.0, n_evaluations: 1, score: 0.0 }).collect())
            }
        }
        let state = State { agent: [0.0; 2], velocity: [0.0; 2], disc: [0.0; 2] };
        let actions = [[0.3, -0.4], [0.0, 0.5]].repeat(8);
        let episode = Demonstration { states: vec![state; 16], actions, solved: true };
        let action_scale = action_rms(std::slice::from_ref(&episode));
        assert!((action_scale - 0.125f64.sqrt()).abs() < 1e-12);
        let set = windows(std::slice::from_ref(&episode), action_scale).unwrap();
        let row = &set.item(1).unwrap()[TO * OBSERVATION..];
        assert!((row.iter().map(|a| a * a).sum::<f32>() / 32.0 - 1.0).abs() < 1e-6);
        let policy = Says(*row.as_chunks::<ACTION>().0.first_chunk().unwrap());
        let chunks = ScaledPolicy { policy, action_scale }.act(&[[[0.0; OBSERVATION]; TO]], &[0], 0).unwrap();
        let found = chunks[0].actions.as_flattened().iter().zip(episode.actions.as_flattened());
        assert!(found.into_iter().all(|(a, b)| (f64::from(*a) - b).abs() < 1e-7));
        for wrong in [0.0, -1.0, f64::NAN] {
            assert!(windows(std::slice::from_ref(&episode), wrong).is_err());
        }
    }

    #[test]
    fn demonstrations_are_a_function_of_the_seed_and_all_successful() {
        let world = World::new(Variant::OneGap);
        let [a, b, c] =
            [7, 7, 8].map(|seed| windows(&demonstrations(&world, seed, 3, 0.05).unwrap(), 1.0).unwrap());
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert!(a.values().iter().all(|v| v.abs() <= 1.0));
        let error = demonstrations(&world, 0, 0, 0.05).unwrap_err().to_string();
        assert!(error.starts_with("data.n_demonstrations = 0"), "{error}");
        assert!(demonstrations(&world, 0, 1, f64::NAN).is_err());
    }
}
