//! The task's physics: an agent with a velocity pushes a disc without one, in a square with walls.
//!
//! The agent is a point mass whose velocity follows the commanded one, `dv/dt = (u - v) / LAG`; a step of 10 ms is the
//! exact solution for constant `u`. The disc has no momentum: it moves only when the agent overlaps it, along the line
//! of their centres, by the overlap. Contacts are solved by projection, a few rounds of agent out of walls, disc out of
//! the agent, disc out of walls, agent out of the disc. Where that does not end (a disc wedged in a corner) both stay
//! where they were, so that no state ever has an overlap.

use ebm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::geometry::{Rect, Vec2, add_scaled, dot, norm, penetration, project, sub, unit};

/// Radius of the agent.
pub const AGENT_RADIUS: f64 = 0.05;
/// Radius of the disc.
pub const DISC_RADIUS: f64 = 0.10;
/// Seconds of a step of the physics.
pub const PHYSICS_STEP: f64 = 0.01;
/// Steps of the physics for one action: control at 10 Hz.
pub const STEPS_PER_ACTION: usize = 10;
/// Time constant of the agent's velocity, in seconds.
pub const LAG: f64 = 0.1;
/// Where the wall stands.
pub const WALL_X: f64 = 0.2;
/// Half of the wall's thickness.
const HALF_THICKNESS: f64 = 0.02;
/// Where the slot begins; it ends at the border. It is a place, not an obstacle.
pub const SLOT_X: f64 = 0.7;
/// Half of the slot's width of 0.3.
pub const SLOT_HALF_WIDTH: f64 = 0.15;
/// Half of a gap's width of 0.5.
pub const GAP_HALF_WIDTH: f64 = 0.25;
/// How far the two gaps of the second variant lie from the middle.
pub const GAP_OFFSET: f64 = 0.35;
/// Overlap that counts as none: rounding.
const TOUCH: f64 = 1e-9;
/// Rounds of projections before a step is given up.
const MAX_ROUNDS: usize = 16;

/// The wall's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// One gap in the middle.
    OneGap,
    /// Two gaps, mirror images of each other, with the slot between them: two equally good ways.
    TwoGaps,
}

/// Positions, and the agent's velocity; lengths in half sides of the square, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// The agent's centre.
    pub agent: Vec2,
    /// The agent's velocity.
    pub velocity: Vec2,
    /// The disc's centre.
    pub disc: Vec2,
}

impl State {
    /// What a policy sees: agent x, y, its velocity, disc x, y.
    pub fn observation(&self) -> [f32; 6] {
        let Self { agent: [ax, ay], velocity: [vx, vy], disc: [dx, dy] } = *self;
        [ax, ay, vx, vy, dx, dy].map(|v| v as f32)
    }

    /// The same scene seen in a mirror along the x axis.
    pub fn mirrored(&self) -> Self {
        let flip = |[x, y]: Vec2| [x, -y];
        Self { agent: flip(self.agent), velocity: flip(self.velocity), disc: flip(self.disc) }
    }

    /// Whether the disc's centre is in the slot.
    pub fn solved(&self) -> bool {
        self.disc[0] >= SLOT_X && self.disc[1].abs() <= SLOT_HALF_WIDTH
    }
}

/// The square `[-1, 1]^2` with its walls.
#[derive(Clone, Debug)]
pub struct World {
    variant: Variant,
    boxes: Vec<Rect>,
}

impl World {
    /// The walls of a variant.
    pub fn new(variant: Variant) -> Self {
        // Walls end beyond the border, so that nothing can be pressed in between.
        let upright = |low: f64, high: f64| Rect {
            low: [WALL_X - HALF_THICKNESS, low],
            high: [WALL_X + HALF_THICKNESS, high],
        };
        let boxes = match variant {
            Variant::OneGap => vec![upright(GAP_HALF_WIDTH, 1.5), upright(-1.5, -GAP_HALF_WIDTH)],
            Variant::TwoGaps => {
                let (inner, outer) = (GAP_OFFSET - GAP_HALF_WIDTH, GAP_OFFSET + GAP_HALF_WIDTH);
                vec![upright(outer, 1.5), upright(-inner, inner), upright(-1.5, -outer)]
            }
        };
        Self { variant, boxes }
    }

    /// Which variant it is.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The walls.
    pub fn boxes(&self) -> &[Rect] {
        &self.boxes
    }

    /// The largest overlap between any two things; at most rounding after every step.
    pub fn overlap(&self, state: &State) -> f64 {
        let circles = AGENT_RADIUS + DISC_RADIUS - norm(sub(state.disc, state.agent));
        circles.max(penetration(state.agent, AGENT_RADIUS, &self.boxes)).max(penetration(
            state.disc,
            DISC_RADIUS,
            &self.boxes,
        ))
    }

    /// A tenth of a second under the commanded velocity `action`, each coordinate clipped to `[-1, 1]`.
    ///
    /// # Errors
    /// An action that is not a number.
    pub fn act(&self, state: &State, action: Vec2) -> Result<State> {
        if let Some(bad) = action.iter().find(|a| a.is_nan()) {
            return Err(Error::bad_value("action", bad, "a number", "the policy diverged"));
        }
        let action = action.map(|a| a.clamp(-1.0, 1.0));
        Ok((0..STEPS_PER_ACTION).fold(*state, |state, _| self.step(&state, action)))
    }

    /// One step of the physics under the commanded velocity `u`.
    pub fn step(&self, state: &State, u: Vec2) -> State {
        let (agent, velocity) = free_motion(state.agent, state.velocity, u, PHYSICS_STEP);
        match self.resolve(agent, state.disc) {
            Some((resolved, disc)) => {
                // What the walls took from the path they take from the velocity too.
                let velocity = match unit(sub(resolved, agent)) {
                    Some(normal) => add_scaled(velocity, -dot(velocity, normal).min(0.0), normal),
                    None => velocity,
                };
                State { agent: resolved, velocity, disc }
            }
            None => State { velocity: [0.0; 2], ..*state },
        }
    }

    /// Positions without overlap near those given, or nothing when the rounds do not end.
    fn resolve(&self, mut agent: Vec2, mut disc: Vec2) -> Option<(Vec2, Vec2)> {
        let reach = AGENT_RADIUS + DISC_RADIUS;
        for _ in 0..MAX_ROUNDS {
            agent = project(agent, AGENT_RADIUS, &self.boxes);
            let apart = sub(disc, agent);
            if norm(apart) < reach {
                disc = add_scaled(agent, reach, unit(apart)?);
            }
            disc = project(disc, DISC_RADIUS, &self.boxes);
            let apart = sub(agent, disc);
            if norm(apart) < reach - TOUCH {
                agent = add_scaled(disc, reach, unit(apart)?);
            }
            if self.overlap(&State { agent, velocity: [0.0; 2], disc }) <= TOUCH {
                return Some((agent, disc));
            }
        }
        None
    }

    /// Whether the disc can be displaced along a straight line without touching anything.
    pub fn clear_path(&self, state: &State, shift: Vec2) -> bool {
        let n = (norm(shift) / (0.5 * AGENT_RADIUS)).ceil().max(1.0) as usize;
        (1..=n).all(|i| {
            let disc = add_scaled(state.disc, i as f64 / n as f64, shift);
            self.overlap(&State { disc, ..*state }) <= TOUCH
        })
    }
}

/// Position and velocity after `t` seconds under `dv/dt = (u - v) / LAG`.
fn free_motion(x: Vec2, v: Vec2, u: Vec2, t: f64) -> (Vec2, Vec2) {
    let decay = (-t / LAG).exp();
    let excess = sub(v, u);
    let x = add_scaled(add_scaled(x, t, u), LAG * (1.0 - decay), excess);
    (x, add_scaled(u, decay, excess))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::{Purpose, Stream};

    fn at(agent: Vec2, velocity: Vec2, disc: Vec2) -> State {
        State { agent, velocity, disc }
    }

    /// Random actions from random legal states, each held for half a second.
    fn walk(world: &World, seed: u64, mut each: impl FnMut(&State, Vec2, &State)) {
        let mut stream = Stream::new(seed, Purpose::User, 0);
        for _ in 0..30 {
            let mut inside = |r: f64| [0, 1].map(|_| (2.0 * stream.uniform() - 1.0) * (1.0 - r));
            let mut state = at(inside(AGENT_RADIUS), [0.0; 2], inside(DISC_RADIUS));
            if world.overlap(&state) > 0.0 {
                continue;
            }
            for i in 0..40 {
                // Half of the time straight at the disc, so that contacts are many.
                let towards = unit(sub(state.disc, state.agent)).unwrap();
                let random = [0, 1].map(|_| 2.0 * stream.uniform() - 1.0);
                let u = if i % 2 == 0 { towards } else { random };
                for _ in 0..50 {
                    let next = world.step(&state, u);
                    each(&state, u, &next);
                    state = next;
                }
            }
        }
    }

    #[test]
    fn free_motion_is_the_closed_form() {
        let world = World::new(Variant::OneGap);
        let (x0, v0, u) = ([-0.5, -0.3], [0.4, -0.2], [-0.3, 0.7]);
        let mut state = at(x0, v0, [-0.5, 0.8]);
        for _ in 0..50 {
            state = world.step(&state, u);
        }
        let decay = (-0.5f64 / LAG).exp();
        for i in 0..2 {
            let x = x0[i] + 0.5 * u[i] + (v0[i] - u[i]) * LAG * (1.0 - decay);
            let v = u[i] + (v0[i] - u[i]) * decay;
            assert!((state.agent[i] - x).abs() < 1e-12 && (state.velocity[i] - v).abs() < 1e-12);
        }
        assert_eq!(state.disc, [-0.5, 0.8]);
        assert!(world.act(&state, [f64::NAN, 0.0]).unwrap_err().to_string().starts_with("action = NaN"));
    }

    #[test]
    fn nothing_overlaps_no_wall_is_crossed_and_no_energy_is_made() {
        for variant in [Variant::OneGap, Variant::TwoGaps] {
            let world = World::new(variant);
            let (mut contacts, mut gave_up) = (0, 0);
            walk(&world, 1, |before, u, after| {
                assert!(world.overlap(after) <= TOUCH, "{after:?}");
                // A point that goes from one side of the wall to the other does so in a gap.
                for (p, q) in [(before.agent, after.agent), (before.disc, after.disc)] {
                    if (p[0] < WALL_X) != (q[0] < WALL_X) {
                        let y = p[1].abs();
                        let in_gap = match variant {
                            Variant::OneGap => y < GAP_HALF_WIDTH,
                            Variant::TwoGaps => (y - GAP_OFFSET).abs() < GAP_HALF_WIDTH,
                        };
                        assert!(in_gap, "{p:?} -> {q:?}");
                    }
                }
                let (_, free) = free_motion(before.agent, before.velocity, u, PHYSICS_STEP);
                assert!(norm(after.velocity) <= norm(free) + 1e-12);
                assert!(norm(after.velocity) <= norm(before.velocity).max(norm(u)) + 1e-12);
                contacts += usize::from(before.disc != after.disc);
                gave_up += usize::from(before.agent == after.agent && after.velocity == [0.0; 2]);
            });
            assert!(contacts > 1000, "{contacts} contacts");
            assert!(gave_up < contacts, "{gave_up} steps given up");
        }
    }

    #[test]
    fn a_push_moves_the_disc_along_the_normal_by_the_overlap() {
        let world = World::new(Variant::OneGap);
        let mut pushes = 0;
        walk(&world, 2, |before, _, after| {
            let moved = sub(after.disc, before.disc);
            let near_wall = penetration(before.disc, DISC_RADIUS + 0.02, world.boxes()) > 0.0
                || penetration(before.agent, AGENT_RADIUS + 0.02, world.boxes()) > 0.0;
            if norm(moved) == 0.0 || near_wall {
                return;
            }
            let normal = unit(sub(before.disc, after.agent)).unwrap();
            let along = dot(moved, normal);
            assert!(along > 0.0 && norm(add_scaled(moved, -along, normal)) < 1e-12);
            assert!((norm(sub(after.disc, after.agent)) - AGENT_RADIUS - DISC_RADIUS).abs() < 1e-12);
            pushes += 1;
        });
        assert!(pushes > 100);
    }

    #[test]
    fn a_mirrored_scene_goes_the_mirrored_way_to_the_bit() {
        for variant in [Variant::OneGap, Variant::TwoGaps] {
            let world = World::new(variant);
            walk(&world, 3, |before, u, after| {
                assert_eq!(world.step(&before.mirrored(), [u[0], -u[1]]), after.mirrored());
            });
        }
    }

    #[test]
    fn walls_stop_the_agent_and_the_disc() {
        let world = World::new(Variant::OneGap);
        let mut state = at([-0.3, 0.6], [0.0; 2], [-0.1, 0.6]);
        for _ in 0..30 {
            state = world.act(&state, [1.0, 0.0]).unwrap();
        }
        assert!((state.disc[0] - (WALL_X - HALF_THICKNESS - DISC_RADIUS)).abs() < 1e-9);
        assert!((state.agent[0] - (state.disc[0] - AGENT_RADIUS - DISC_RADIUS)).abs() < 1e-9);
        assert!(norm(state.velocity) < 1e-9);
        assert!(!world.clear_path(&state, [0.25, 0.0]));
        assert!(world.clear_path(&state, [0.0, 0.25]));
    }
}
