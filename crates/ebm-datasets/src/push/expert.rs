//! The scripted expert: push the disc from waypoint to waypoint, from behind, and walk around it to get there.

use ebm_core::random::Stream;

use super::geometry::{Vec2, add_scaled, dot, norm, sub, unit};
use super::world::{AGENT_RADIUS, DISC_RADIUS, GAP_HALF_WIDTH, GAP_OFFSET, SLOT_X, State, Variant, WALL_X};

/// Speed while pushing.
const PUSH_SPEED: f64 = 0.35;
/// Speed while walking.
const WALK_SPEED: f64 = 0.8;
/// Distance of the centres at contact.
const CONTACT: f64 = AGENT_RADIUS + DISC_RADIUS;
/// Distance of the centres while walking around the disc.
const ORBIT: f64 = CONTACT + 0.06;
/// How fast a sideways offset is corrected while pushing, per second.
const ALIGN_GAIN: f64 = 5.0;
/// The same for the distance while walking around.
const ORBIT_GAIN: f64 = 5.0;
/// Pushing begins within this angle of the line, in radians, and ends beyond twice it.
const PUSH_ANGLE: f64 = 0.3;

/// Height of the way through one of two gaps: nearer to the middle than the gap's centre, with room for the disc.
const TWO_GAPS_HEIGHT: f64 = GAP_OFFSET - GAP_HALF_WIDTH + 1.8 * DISC_RADIUS;

/// The expert of one episode: its way is fixed at the start where there are two.
#[derive(Clone, Debug)]
pub struct Expert {
    gap: f64,
    noise_std: f64,
    noise: Stream,
    pushing: bool,
}

impl Expert {
    /// An expert whose actions carry normal noise of this standard deviation. Where there are two gaps a coin decides.
    pub fn new(variant: Variant, noise_std: f64, mut noise: Stream) -> Self {
        let coin = noise.uniform() < 0.5;
        let gap = match variant {
            Variant::OneGap => 0.0,
            Variant::TwoGaps if coin => TWO_GAPS_HEIGHT,
            Variant::TwoGaps => -TWO_GAPS_HEIGHT,
        };
        Self { gap, noise_std, noise, pushing: false }
    }

    /// The commanded velocity: what the expert wants, and what is done, with noise. Both clipped to `[-1, 1]`.
    pub fn act(&mut self, state: &State) -> (Vec2, Vec2) {
        let wanted = self.intent(state).map(|u| u.clamp(-1.0, 1.0));
        let done = wanted.map(|u| (u + self.noise_std * self.noise.normal()).clamp(-1.0, 1.0));
        (wanted, done)
    }

    /// Where the disc should go next, in a straight line.
    fn waypoint(&self, disc: Vec2) -> Vec2 {
        let through = WALL_X + 1.3 * DISC_RADIUS;
        let aside = (disc[1] - self.gap).abs();
        if disc[0] < through {
            let before = WALL_X - 1.4 * DISC_RADIUS;
            // First to the gap's height, then through it.
            if aside > 0.1 { [before, self.gap] } else { [through + 0.15, self.gap] }
        } else if disc[1].abs() > 0.04 && disc[0] < SLOT_X - DISC_RADIUS {
            [SLOT_X - 0.5 * DISC_RADIUS, 0.0]
        } else {
            [1.2, 0.0]
        }
    }

    fn intent(&mut self, state: &State) -> Vec2 {
        let Some(ahead) = unit(sub(self.waypoint(state.disc), state.disc)) else { return [0.0; 2] };
        let side = [-ahead[1], ahead[0]];
        let from_disc = sub(state.agent, state.disc);
        let (along, across) = (dot(from_disc, ahead), dot(from_disc, side));
        // 0 right behind the disc.
        let angle = across.atan2(-along);
        let limit = if self.pushing { 2.0 * PUSH_ANGLE } else { PUSH_ANGLE };
        let distance = norm(from_disc);
        self.pushing = angle.abs() < limit && distance < ORBIT + 0.06;
        if self.pushing {
            // Slower while out of line, so that the disc does not slip off.
            let speed = PUSH_SPEED * (1.0 - angle.abs() / (2.0 * PUSH_ANGLE)).max(0.2);
            return add_scaled(ahead.map(|a| speed * a), -ALIGN_GAIN * across, side);
        }
        let behind = add_scaled(state.disc, -ORBIT, ahead);
        let (Some(radial), Some(straight)) = (unit(from_disc), unit(sub(behind, state.agent))) else {
            return ahead;
        };
        // The straight way is free when the disc lies behind, or far enough aside.
        let to_disc = sub(state.disc, state.agent);
        let passes = dot(to_disc, straight);
        let clearance = norm(add_scaled(to_disc, -passes, straight));
        if passes <= 0.0 || clearance > CONTACT + 0.02 {
            let left = norm(sub(behind, state.agent));
            return straight.map(|s| WALK_SPEED.min(4.0 * left + 0.1) * s);
        }
        // Around the disc, towards the angle 0.
        let turn = if angle > 0.0 { 1.0 } else { -1.0 };
        let tangent = [-turn * radial[1], turn * radial[0]];
        add_scaled(tangent.map(|t| WALK_SPEED * t), ORBIT_GAIN * (ORBIT - distance).min(0.1), radial)
    }
}

#[cfg(test)]
mod tests {
    use super::super::demonstrations::demonstrate;
    use super::super::episode::{EpisodeId, MAX_ACTIONS, Split};
    use super::super::world::World;
    use super::*;

    #[test]
    fn the_expert_succeeds_in_95_of_100_episodes() {
        for variant in [Variant::OneGap, Variant::TwoGaps] {
            let world = World::new(variant);
            let (mut n, mut upper, mut actions) = (0, 0, 0);
            for number in 0..400 {
                let id = EpisodeId { seed: 900, split: Split::Demonstration, number };
                let episode = demonstrate(&world, id, 0.1).unwrap();
                n += u64::from(episode.solved);
                upper += u64::from(episode.states.iter().any(|s| s.disc[1] > 0.2));
                actions += episode.actions.len();
            }
            assert!(n >= 380, "{variant:?}: {n} of 400");
            assert!(actions < 400 * MAX_ACTIONS);
            // A fair coin: 200 with a standard deviation of 10.
            assert!(
                variant == Variant::OneGap || (160..=240).contains(&upper),
                "{upper} of 400 by the upper gap"
            );
        }
    }
}
