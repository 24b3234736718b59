//! Many episodes of a policy at once: all of them decide together, so that a network runs on one batch.

use ebm_core::{Error, Result};

use super::demonstrations::{ACTION, OBSERVATION, TA, TO, TP};
use super::episode::{EpisodeId, MAX_ACTIONS, Split, advance};
use super::geometry::Vec2;
use super::world::{State, World};

/// What a policy decides for one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// `TP` actions, the first at the time of the first observation.
    pub actions: [[f32; ACTION]; TP],
    /// Evaluations of the network.
    pub n_evaluations: u32,
    /// How unusual the policy finds the situation: the energy of the chunk, where it has one.
    pub score: f64,
}

/// Sees the last `TO` observations of some episodes and decides the next actions of each.
pub trait Policy {
    /// One chunk for each entry of `history`. `episodes` are their numbers and `call` counts the decisions: random
    /// numbers should be a function of the seed and these.
    ///
    /// # Errors
    /// What the network returns.
    fn act(
        &mut self,
        history: &[[[f32; OBSERVATION]; TO]],
        episodes: &[usize],
        call: usize,
    ) -> Result<Vec<Chunk>>;
}

/// A policy whose actions come in units of `action_scale`: see [`super::windows`].
pub struct ScaledPolicy<P> {
    /// Decides in those units.
    pub policy: P,
    /// What its actions are multiplied by.
    pub action_scale: f64,
}

impl<P: Policy> Policy for ScaledPolicy<P> {
    fn act(
        &mut self,
        history: &[[[f32; OBSERVATION]; TO]],
        episodes: &[usize],
        call: usize,
    ) -> Result<Vec<Chunk>> {
        let mut chunks = self.policy.act(history, episodes, call)?;
        for chunk in &mut chunks {
            for a in chunk.actions.as_flattened_mut() {
                *a *= self.action_scale as f32;
            }
        }
        Ok(chunks)
    }
}

/// Which episodes to run.
#[derive(Clone, Copy, Debug)]
pub struct Rollouts {
    /// The run's seed.
    pub seed: u64,
    /// Episodes 0 to this.
    pub n_episodes: usize,
    /// Whether each gets its shove.
    pub shove: bool,
}

/// One decision as it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The number of the first action that came of it.
    pub at: usize,
    /// See [`Chunk::n_evaluations`].
    pub n_evaluations: u32,
    /// See [`Chunk::score`].
    pub score: f64,
}

/// What happened in one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The states, the start first, one more for each action.
    pub states: Vec<State>,
    /// The decisions.
    pub decisions: Vec<Decision>,
    /// The number of the action before which the shove came, if it did.
    pub shoved_at: Option<usize>,
    /// Whether the disc came into the slot in time.
    pub solved: bool,
}

impl Episode {
    /// The first decision that could see the shove.
    pub fn decision_after_shove(&self) -> Option<usize> {
        let at = self.shoved_at?;
        self.decisions.iter().position(|d| d.at > at)
    }
}

/// Run the episodes in step. A solved one stops; the others go on deciding every `TA` actions.
///
/// # Errors
/// No episodes, what the policy returns, too few chunks, or actions that are not numbers.
pub fn rollouts(world: &World, policy: &mut dyn Policy, config: Rollouts) -> Result<Vec<Episode>> {
    if config.n_episodes == 0 {
        return Err(Error::bad_value("eval.n_episodes", 0, "at least 1", "200 is usual"));
    }
    let ids = (0..config.n_episodes as u64).map(|number| EpisodeId {
        seed: config.seed,
        split: Split::Evaluation,
        number,
    });
    let mut shoves: Vec<_> = ids.clone().map(|id| config.shove.then(|| id.shove())).collect();
    let begin = |id: EpisodeId| {
        let states = vec![id.start(world)];
        Episode { states, decisions: Vec::new(), shoved_at: None, solved: false }
    };
    let mut episodes: Vec<Episode> = ids.map(begin).collect();
    for (call, at) in (0..MAX_ACTIONS).step_by(TA).enumerate() {
        let active: Vec<usize> = (0..episodes.len()).filter(|&i| !episodes[i].solved).collect();
        if active.is_empty() {
            break;
        }
        let history: Vec<_> = active.iter().map(|&i| last_observations(&episodes[i].states)).collect();
        let chunks = policy.act(&history, &active, call)?;
        if chunks.len() != active.len() {
            return Err(Error::shape("chunks of the policy", active.len(), chunks.len()));
        }
        for (&i, chunk) in active.iter().zip(&chunks) {
            let Chunk { n_evaluations, score, .. } = *chunk;
            episodes[i].decisions.push(Decision { at, n_evaluations, score });
            execute(world, &mut episodes[i], chunk, shoves[i].as_mut())?;
        }
    }
    Ok(episodes)
}

fn execute(
    world: &World,
    episode: &mut Episode,
    chunk: &Chunk,
    mut shove: Option<&mut super::Shove>,
) -> Result<()> {
    for action in &chunk.actions[TO - 1..TO - 1 + TA] {
        let number = episode.states.len() - 1;
        if episode.solved || number == MAX_ACTIONS {
            break;
        }
        let mut state = episode.states[number];
        let action: Vec2 = action.map(f64::from);
        if advance(world, &mut state, action, number, shove.as_deref_mut())? {
            episode.shoved_at = Some(number);
        }
        episode.solved = state.solved();
        episode.states.push(state);
    }
    Ok(())
}

/// The last `TO` observations; before the start the first one is repeated.
fn last_observations(states: &[State]) -> [[f32; OBSERVATION]; TO] {
    std::array::from_fn(|t| states[(states.len() + t).saturating_sub(TO)].observation())
}

#[cfg(test)]
mod tests {
    use super::super::expert::Expert;
    use super::super::world::Variant;
    use super::*;

    /// Knows the physics: plans each chunk by running the expert in its head.
    struct Planner {
        world: World,
        experts: Vec<Expert>,
    }

    impl Planner {
        fn new(world: &World, n: usize) -> Self {
            let id = |number| EpisodeId { seed: 5, split: Split::Evaluation, number };
            let experts = (0..n as u64).map(|i| Expert::new(world.variant(), 0.0, id(i).noise())).collect();
            Self { world: world.clone(), experts }
        }
    }

    impl Policy for Planner {
        fn act(
            &mut self,
            history: &[[[f32; OBSERVATION]; TO]],
            episodes: &[usize],
            _: usize,
        ) -> Result<Vec<Chunk>> {
            let one = |(seen, &i): (&[[f32; OBSERVATION]; TO], &usize)| {
                let [ax, ay, vx, vy, dx, dy] = seen[TO - 1].map(f64::from);
                let mut state = State { agent: [ax, ay], velocity: [vx, vy], disc: [dx, dy] };
                let mut actions = [[0.0; ACTION]; TP];
                for action in &mut actions[TO - 1..] {
                    let (wanted, _) = self.experts[i].act(&state);
                    *action = wanted.map(|a| a as f32);
                    state = self.world.act(&state, wanted)?;
                }
                Ok(Chunk { actions, n_evaluations: 3, score: 0.0 })
            };
            history.iter().zip(episodes).map(one).collect()
        }
    }

    #[test]
    fn a_policy_that_knows_the_physics_solves_the_task_in_chunks_and_after_a_shove() {
        for (variant, shove, least) in
            [(Variant::OneGap, false, 190), (Variant::OneGap, true, 100), (Variant::TwoGaps, false, 180)]
        {
            let world = World::new(variant);
            let mut planner = Planner::new(&world, 200);
            let episodes =
                rollouts(&world, &mut planner, Rollouts { seed: 5, n_episodes: 200, shove }).unwrap();
            let solved = episodes.iter().filter(|e| e.solved).count();
            assert!(solved >= least, "{variant:?} {shove}: {solved} of 200");
            for episode in &episodes {
                let n = episode.states.len() - 1;
                assert_eq!(episode.decisions.len(), n.div_ceil(TA));
                assert!(episode.solved || n == MAX_ACTIONS);
                assert!(shove || episode.shoved_at.is_none());
                if let (Some(at), Some(after)) = (episode.shoved_at, episode.decision_after_shove()) {
                    assert!(episode.decisions[after].at > at && episode.decisions[after].at <= at + TA);
                }
            }
        }
    }

    #[test]
    fn bad_policies_are_errors() {
        struct Bad(bool);
        impl Policy for Bad {
            fn act(&mut self, h: &[[[f32; OBSERVATION]; TO]], _: &[usize], _: usize) -> Result<Vec<Chunk>> {
                let chunk = Chunk { actions: [[f32::NAN; 2]; TP], n_evaluations: 1, score: 0.0 };
                Ok(if self.0 { vec![chunk; h.len()] } else { Vec::new() })
            }
        }
        let world = World::new(Variant::OneGap);
        let config = Rollouts { seed: 0, n_episodes: 2, shove: false };
        let error = |nan| rollouts(&world, &mut Bad(nan), config).unwrap_err().to_string();
        assert!(error(false).starts_with("chunks of the policy"), "{}", error(false));
        assert!(error(true).starts_with("action = NaN"), "{}", error(true));
        assert!(rollouts(&world, &mut Bad(true), Rollouts { n_episodes: 0, ..config }).is_err());
    }
}
