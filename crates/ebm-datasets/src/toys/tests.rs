//! Draws against exact densities (chi-square on a grid) and against the curves that they lie on.

use ebm_core::random::{Purpose, Stream};

use super::*;

fn stream(index: u64) -> Stream {
    Stream::new(2, Purpose::Synthetic, index)
}

/// The upper point of the chi-square law at level 1e-6 (Wilson and Hilferty).
fn chi_square_limit(degrees: usize) -> f64 {
    let (k, z) = (degrees as f64, 4.753_424);
    let a = 2.0 / (9.0 * k);
    k * (1.0 - a + z * a.sqrt()).powi(3)
}

/// Counts of 200,000 draws in 24 x 24 cells of `[-edge, edge]^2` against the density's integrals over them (the
/// midpoint rule on 40 x 40 points a cell); cells that expect fewer than ten, and the outside, count as one.
fn agrees_with_density(toy: &dyn Toy, edge: f64) {
    const CELLS: usize = 24;
    const FINE: usize = 40;
    let n = 200_000;
    let side = 2.0 * edge / CELLS as f64;
    let points = toy.sample(n, &mut stream(0)).unwrap();
    let mut counts = vec![0.0; CELLS * CELLS];
    let mut outside = 0.0;
    for point in points.rows() {
        let cell = |v: f32| ((f64::from(v) + edge) / side).floor();
        let (i, j) = (cell(point[0]), cell(point[1]));
        if (0.0..CELLS as f64).contains(&i) && (0.0..CELLS as f64).contains(&j) {
            counts[i as usize * CELLS + j as usize] += 1.0;
        } else {
            outside += 1.0;
        }
        assert!(toy.exact_log_density(point[0].into(), point[1].into()).unwrap().is_finite());
    }
    let (mut total, mut chi2, mut used) = (0.0, 0.0, 0);
    let (mut rest_expected, mut rest_found) = (0.0, outside);
    for (cell, &found) in counts.iter().enumerate() {
        let corner = [cell / CELLS, cell % CELLS].map(|i| i as f64 * side - edge);
        let mut mass = 0.0;
        for i in 0..FINE * FINE {
            let [x, y] = [(0, i / FINE), (1, i % FINE)]
                .map(|(axis, i)| corner[axis] + (i as f64 + 0.5) * side / FINE as f64);
            mass += toy.exact_log_density(x, y).unwrap().exp() * (side / FINE as f64).powi(2);
        }
        total += mass;
        let expected = mass * n as f64;
        if expected < 10.0 {
            rest_expected += expected;
            rest_found += found;
        } else {
            chi2 += (found - expected).powi(2) / expected;
            used += 1;
        }
    }
    assert!((total - 1.0).abs() < 1e-4, "the density's mass is {total}");
    rest_expected += n as f64 * (1.0 - total).max(0.0);
    if rest_expected >= 10.0 {
        chi2 += (rest_found - rest_expected).powi(2) / rest_expected;
        used += 1;
    } else {
        assert!(rest_found <= rest_expected + 6.0 * rest_expected.sqrt() + 6.0, "{rest_found}");
    }
    assert!(used > 20 && chi2 < chi_square_limit(used - 1), "chi-square {chi2} with {} degrees", used - 1);
}

#[test]
fn draws_follow_their_densities() {
    agrees_with_density(&EightGaussians::default(), 4.8);
    agrees_with_density(&EightGaussians { radius: 1.0, sd: 0.5 }, 4.0);
    agrees_with_density(&Ring::default(), 1.6);
    agrees_with_density(&Ring { radius: 1.0, sd: 0.3 }, 2.8);
    // Edges on the grid's lines, so that the cells' masses are exact.
    agrees_with_density(&Checkerboard::default(), 4.0);
    agrees_with_density(&Checkerboard { half_width: 3.0, cells: 3 }, 4.0);
}

/// The test above can fail: the draws of one law do not pass for another.
#[test]
fn a_wrong_density_is_noticed() {
    struct Wrong(EightGaussians, EightGaussians);
    impl Toy for Wrong {
        fn check(&self) -> Result<()> {
            Ok(())
        }
        fn n_parts(&self) -> usize {
            8
        }
        fn draw(&self, stream: &mut Stream) -> ([f64; 2], usize) {
            self.0.draw(stream)
        }
        fn exact_log_density(&self, x: f64, y: f64) -> Option<f64> {
            Some(self.1.log_density(x, y))
        }
    }
    let law = EightGaussians::default();
    let wrong = Wrong(law.clone(), law.smoothed(0.06)); // 1.4 percent more spread
    assert!(std::panic::catch_unwind(|| agrees_with_density(&wrong, 4.8)).is_err());
}

#[test]
fn densities_by_hand() {
    let law = EightGaussians { radius: 100.0, sd: 2.0 };
    let peak = (1.0 / (8.0 * std::f64::consts::TAU * 4.0)).ln();
    assert!((law.log_density(100.0, 0.0) - peak).abs() < 1e-12);
    assert!((law.log_density(0.0, 104.0) - (peak - 2.0)).abs() < 1e-9);
    assert!(law.log_density(1e6, 0.0).is_finite());
    assert_eq!(law.smoothed(1.5).sd, 2.5);
    let board = Checkerboard::default();
    assert_eq!(board.log_density(-3.9, -3.9), -(8.0f64 * 4.0).ln());
    assert_eq!(board.log_density(-3.9, -1.9), f64::NEG_INFINITY);
    assert_eq!(board.log_density(4.0, 3.0), f64::NEG_INFINITY);
    assert_eq!(Checkerboard { half_width: 1.0, cells: 3 }.n_parts(), 5);
}

#[test]
fn labels_name_the_part() {
    let n = 20_000;
    let board = Checkerboard { half_width: 3.0, cells: 3 };
    let set = board.dataset("board", n, &mut stream(1)).unwrap();
    let cells = [[-3.0, -3.0], [1.0, -3.0], [-1.0, -1.0], [-3.0, 1.0], [1.0, 1.0]];
    for (i, &label) in set.labels().unwrap().iter().enumerate() {
        let [x, y] = cells[label as usize];
        let item = set.item(i).unwrap();
        assert!((x..x + 2.0).contains(&item[0]) && (y..y + 2.0).contains(&item[1]));
    }
    for name in AnyToy::NAMES {
        let toy = AnyToy::by_name(name).unwrap();
        assert_eq!(toy.name(), name);
        let set = toy.dataset(name, n, &mut stream(2)).unwrap();
        assert_eq!((set.n_classes(), set.shape()), (toy.n_parts(), &[2][..]));
        let expected = n as f64 / toy.n_parts() as f64;
        let chi2: f64 = set.class_counts().iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
        assert!(toy.n_parts() == 1 || chi2 < chi_square_limit(toy.n_parts() - 1), "{name}: {chi2}");
        // The same stream gives the same points.
        assert_eq!(set.x(), toy.sample(n, &mut stream(2)).unwrap());
    }
}

#[test]
fn without_noise_points_lie_on_their_curves() {
    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
    let each = |toy: &dyn Toy, on_curve: &dyn Fn(f64, f64, usize) -> bool| {
        let set = toy.dataset("curve", 2000, &mut stream(3)).unwrap();
        for (i, &label) in set.labels().unwrap().iter().enumerate() {
            let item = set.item(i).unwrap();
            assert!(on_curve(item[0].into(), item[1].into(), label as usize), "{item:?}");
        }
    };
    each(&Moons { noise: 0.0 }, &|x, y, moon| match moon {
        0 => close(x.hypot(y), 1.0) && y > -1e-6,
        _ => close((x - 1.0).hypot(y - 0.5), 1.0) && y < 0.5 + 1e-6,
    });
    each(&Circles { factor: 0.3, noise: 0.0 }, &|x, y, circle| close(x.hypot(y), [1.0, 0.3][circle]));
    let spirals = Spirals { arms: 3, turns: 0.25, radius: 2.0, noise: 0.0 };
    each(&spirals, &|x, y, arm| {
        let t = x.hypot(y) / 2.0;
        let turned = std::f64::consts::TAU * (0.25 * t + arm as f64 / 3.0);
        close(x, 2.0 * t * turned.cos()) && close(y, 2.0 * t * turned.sin())
    });
}

#[test]
fn impossible_settings_are_errors() {
    let toys: [AnyToy; 8] = [
        AnyToy::Moons(Moons { noise: -0.1 }),
        AnyToy::Moons(Moons { noise: f64::NAN }),
        AnyToy::Circles(Circles { factor: 1.0, noise: 0.0 }),
        AnyToy::Ring(Ring { radius: 1.0, sd: 0.0 }),
        AnyToy::Checkerboard(Checkerboard { cells: 0, half_width: 1.0 }),
        AnyToy::Checkerboard(Checkerboard { cells: 4, half_width: f64::INFINITY }),
        AnyToy::EightGaussians(EightGaussians { radius: 0.0, sd: 1.0 }),
        AnyToy::Spirals(Spirals { arms: 0, ..Spirals::default() }),
    ];
    for toy in toys {
        assert!(toy.sample(1, &mut stream(0)).unwrap_err().to_string().starts_with(toy.name()));
    }
    assert!(AnyToy::by_name("moon").unwrap_err().to_string().contains("one of moons, circles"));
}
