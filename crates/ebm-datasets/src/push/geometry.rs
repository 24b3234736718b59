//! Circles and axis-parallel boxes: overlap, and its removal by the shortest shift.

/// A point or a vector of the plane.
pub type Vec2 = [f64; 2];

/// An axis-parallel box, a piece of a wall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Least coordinates.
    pub low: Vec2,
    /// Largest coordinates.
    pub high: Vec2,
}

pub(super) fn sub(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] - b[0], a[1] - b[1]]
}

/// `a + t b`.
pub(super) fn add_scaled(a: Vec2, t: f64, b: Vec2) -> Vec2 {
    [a[0] + t * b[0], a[1] + t * b[1]]
}

pub(super) fn dot(a: Vec2, b: Vec2) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

pub(super) fn norm(a: Vec2) -> f64 {
    a[0].hypot(a[1])
}

/// `a / |a|`, or nothing for the zero vector.
pub(super) fn unit(a: Vec2) -> Option<Vec2> {
    let n = norm(a);
    (n > 0.0).then(|| [a[0] / n, a[1] / n])
}

impl Rect {
    /// How deep a circle reaches into the box (not positive: it does not), and where its centre must go to touch the
    /// box from outside.
    fn overlap(&self, centre: Vec2, radius: f64) -> (f64, Vec2) {
        let nearest =
            [centre[0].clamp(self.low[0], self.high[0]), centre[1].clamp(self.low[1], self.high[1])];
        if let Some(normal) = unit(sub(centre, nearest)) {
            return (radius - norm(sub(centre, nearest)), add_scaled(nearest, radius, normal));
        }
        // The centre is in the box: out by the nearest face.
        let mut best = (f64::INFINITY, centre);
        for axis in 0..2 {
            for face in [self.low[axis] - radius, self.high[axis] + radius] {
                let depth = (centre[axis] - face).abs();
                if depth < best.0 {
                    best = (depth, centre);
                    best.1[axis] = face;
                }
            }
        }
        best
    }
}

/// How deep a circle reaches into the deepest of the boxes or out of the square `[-1, 1]^2`; at most 0 when it is free.
pub fn penetration(centre: Vec2, radius: f64, boxes: &[Rect]) -> f64 {
    let border = centre[0].abs().max(centre[1].abs()) + radius - 1.0;
    boxes.iter().map(|b| b.overlap(centre, radius).0).fold(border, f64::max)
}

/// A circle's centre shifted out of the deepest box, then back into the square.
pub(super) fn project(centre: Vec2, radius: f64, boxes: &[Rect]) -> Vec2 {
    // The deepest one first: then the order of the list does not matter, and a mirrored scene is solved alike.
    let deepest = boxes.iter().map(|b| b.overlap(centre, radius)).max_by(|a, b| a.0.total_cmp(&b.0));
    let out = deepest.filter(|(depth, _)| *depth > 0.0).map_or(centre, |(_, out)| out);
    let limit = 1.0 - radius;
    out.map(|c| c.clamp(-limit, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Rect = Rect { low: [-0.1, -0.2], high: [0.1, 0.2] };

    #[test]
    fn a_projected_circle_touches_the_box_by_the_shortest_way() {
        for (centre, depth, out) in [
            ([0.15, 0.0], 0.05, [0.2, 0.0]),    // a face
            ([0.0, -0.25], 0.05, [0.0, -0.3]),  // another
            ([0.16, 0.28], 0.0, [0.16, 0.28]),  // just touches the corner: 0.06, 0.08, 0.1
            ([0.13, 0.24], 0.05, [0.16, 0.28]), // within the corner's reach: along the diagonal
            ([0.04, 0.0], 0.16, [0.2, 0.0]),    // the centre inside
        ] {
            let (found, to) = BOX.overlap(centre, 0.1);
            assert!((found - depth).abs() < 1e-12, "{centre:?}: {found}");
            let projected = project(centre, 0.1, &[BOX]);
            assert!(norm(sub(projected, out)) < 1e-12, "{centre:?}: {projected:?}");
            assert!(depth <= 0.0 || to == projected);
            assert!(penetration(projected, 0.1, &[BOX]).abs() < 1e-12);
        }
        assert_eq!(project([0.97, -2.0], 0.1, &[BOX]), [0.9, -0.9]);
        assert!(penetration([0.97, 0.0], 0.1, &[]) > 0.069);
    }
}
