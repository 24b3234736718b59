//! One episode: a seeded start, at most 8 seconds, and perhaps one shove. A function of (seed, episode).

use std::f64::consts::TAU;

use ebm_core::Result;
use ebm_core::random::{Purpose, Stream};

use super::geometry::Vec2;
use super::world::{State, Variant, World};

/// Actions of an episode: 8 seconds at 10 Hz.
pub const MAX_ACTIONS: usize = 80;
/// How far a shove displaces the disc.
pub const SHOVE: f64 = 0.25;
/// Directions tried until one is free.
const SHOVE_TRIES: usize = 64;
/// Numbers of this crate's streams for episodes, apart from those that count chains or epochs.
const FIRST_STREAM: u64 = 1 << 40;
/// Streams of an episode: start, noise of the expert, shove.
const STREAMS: u64 = 3;

/// Which set of episodes: the two never share a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Demonstrations.
    Demonstration,
    /// Rollouts that are judged.
    Evaluation,
}

/// Names one episode.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeId {
    /// The run's seed.
    pub seed: u64,
    /// Demonstrations or evaluation.
    pub split: Split,
    /// Its number.
    pub number: u64,
}

impl EpisodeId {
    fn stream(self, which: u64) -> Stream {
        let purpose = match self.split {
            Split::Demonstration => Purpose::Synthetic,
            Split::Evaluation => Purpose::Evaluation,
        };
        Stream::new(self.seed, purpose, FIRST_STREAM + STREAMS * self.number + which)
    }

    /// Where the episode begins: disc left of the wall, agent anywhere left of it without an overlap.
    pub fn start(self, world: &World) -> State {
        let mut stream = self.stream(0);
        let mut between = |low: f64, high: f64| low + (high - low) * stream.uniform();
        // With two gaps the disc begins between them: neither is the nearer by much.
        let spread = match world.variant() {
            Variant::OneGap => 0.5,
            Variant::TwoGaps => 0.15,
        };
        let disc = [between(-0.5, -0.2), between(-spread, spread)];
        loop {
            let agent = [between(-0.9, -0.05), between(-0.8, 0.8)];
            let state = State { agent, velocity: [0.0; 2], disc };
            if world.overlap(&state) <= 0.0 {
                return state;
            }
        }
    }

    /// The stream of the expert's noise.
    pub(super) fn noise(self) -> Stream {
        self.stream(1)
    }

    /// The shove that belongs to this episode.
    pub fn shove(self) -> Shove {
        let mut stream = self.stream(2);
        let seconds = 2.0 + 3.0 * stream.uniform();
        Shove { before_action: (10.0 * seconds).round() as usize, stream }
    }
}

/// One sudden displacement of the disc, absent from the demonstrations.
#[derive(Clone, Debug)]
pub struct Shove {
    /// It comes before the action of this number: a time uniform in 2 to 5 seconds.
    pub before_action: usize,
    stream: Stream,
}

impl Shove {
    /// Displace the disc by [`SHOVE`] in a random direction whose straight path touches nothing. Where 64 directions
    /// are all blocked, nothing is displaced and the answer is `None`.
    pub fn apply(&mut self, world: &World, state: &State) -> Option<State> {
        (0..SHOVE_TRIES).find_map(|_| {
            let (sin, cos) = (TAU * self.stream.uniform()).sin_cos();
            let shift = [SHOVE * cos, SHOVE * sin];
            let disc: Vec2 = [state.disc[0] + shift[0], state.disc[1] + shift[1]];
            world.clear_path(state, shift).then_some(State { disc, ..*state })
        })
    }
}

/// Steps `state` under one action; the shove of `shove`, if it is due, comes first. Answers whether it came.
pub(super) fn advance(
    world: &World,
    state: &mut State,
    action: Vec2,
    number: usize,
    shove: Option<&mut Shove>,
) -> Result<bool> {
    let mut shoved = false;
    if let Some(shove) = shove.filter(|s| s.before_action == number)
        && let Some(displaced) = shove.apply(world, state)
    {
        *state = displaced;
        shoved = true;
    }
    *state = world.act(state, action)?;
    Ok(shoved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> EpisodeId {
        EpisodeId { seed: 3, split: Split::Evaluation, number }
    }

    #[test]
    fn an_episode_is_a_function_of_seed_and_number() {
        let world = World::new(Variant::OneGap);
        assert_eq!(id(5).start(&world), id(5).start(&world));
        let others =
            [id(6), EpisodeId { seed: 4, ..id(5) }, EpisodeId { split: Split::Demonstration, ..id(5) }];
        for other in others {
            assert_ne!(id(5).start(&world), other.start(&world));
            assert!(world.overlap(&other.start(&world)) <= 0.0);
        }
    }

    #[test]
    fn a_shove_moves_the_disc_alone_by_its_length_at_a_time_in_its_window() {
        let world = World::new(Variant::TwoGaps);
        let (mut sum, mut applied) = ([0.0; 2], 0);
        for number in 0..400 {
            let mut shove = id(number).shove();
            assert!((20..=50).contains(&shove.before_action));
            let state = id(number).start(&world);
            let Some(after) = shove.apply(&world, &state) else { continue };
            let shift = [after.disc[0] - state.disc[0], after.disc[1] - state.disc[1]];
            assert!((shift[0].hypot(shift[1]) - SHOVE).abs() < 1e-12);
            assert_eq!((after.agent, after.velocity), (state.agent, state.velocity));
            assert!(world.overlap(&after) <= 1e-9);
            sum = [sum[0] + shift[0], sum[1] + shift[1]];
            applied += 1;
        }
        assert!(applied > 390, "{applied}");
        // Up and down are alike: the mean of 400 of them has a standard error of 0.25 / sqrt(2 * 400) = 0.009.
        assert!((sum[1] / f64::from(applied)).abs() < 0.035, "{sum:?}");
    }
}
