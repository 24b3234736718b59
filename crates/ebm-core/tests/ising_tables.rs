//! Known figures of Ising lattices, to the digits in which they were printed. They were computed independently, by
//! another transfer matrix, for the lattice of Liu et al., "Generative marginalization models" (the 10x10 torus with
//! J = b = 0.2, there written sigma = 0.1 with every edge counted twice) and its neighbours.

#![allow(clippy::unwrap_used)]

use ebm_core::exact::{Boundary, IsingLattice, MeanField, TransferMatrix, bits_per_dimension};
use ebm_core::random::{Purpose, Stream};

fn law(rows: usize, cols: usize, boundary: Boundary, coupling: f64, field: f64) -> TransferMatrix {
    TransferMatrix::new(IsingLattice::new(rows, cols, boundary, coupling, field).unwrap()).unwrap()
}

fn torus(side: usize, coupling: f64, field: f64) -> TransferMatrix {
    law(side, side, Boundary::Torus, coupling, field)
}

/// Equal when printed with as many decimals.
#[track_caller]
fn printed(value: f64, figure: &str) {
    let decimals = figure.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let shown = format!("{value:.decimals$}");
    let shown = if figure.starts_with('.') { shown.trim_start_matches('0') } else { &shown };
    assert_eq!(shown, figure, "{value}");
}

fn bits(law: &TransferMatrix, nats: f64) -> f64 {
    bits_per_dimension(nats, law.lattice().n_sites())
}

/// log Z, E log f, entropy, its bits per dimension, best independent bits per dimension, total correlation.
#[track_caller]
fn row(law: &TransferMatrix, figures: [&str; 6]) {
    printed(law.log_z(), figures[0]);
    printed(-law.mean_energy(), figures[1]);
    printed(law.entropy(), figures[2]);
    printed(bits(law, law.entropy()), figures[3]);
    printed(bits(law, law.independent_nll()), figures[4]);
    printed(law.total_correlation(), figures[5]);
}

#[test]
fn tori_of_side_4() {
    row(&torus(4, 0.2, 0.2), ["12.5985", "3.9172", "8.6813", ".78278", ".82674", ".488"]);
    row(&torus(4, 0.4, 0.0), ["14.5611", "8.8263", "5.7347", ".51709", "1.0", "5.356"]);
    row(&torus(4, 0.4, 0.2), ["16.5823", "13.5632", "3.0191", ".27223", ".30983", ".417"]);
}

#[test]
fn the_papers_torus() {
    let law = torus(10, 0.2, 0.2);
    row(&law, ["78.6881", "24.3922", "54.2958", ".78332", ".82393", "2.814"]);
    printed(law.moments().mean_magnetisation(), ".48372");
    let mean_field = MeanField::best(law.lattice());
    printed(mean_field.kl(law.log_z()), "2.236");
    printed(-mean_field.log_z_bound, "-76.452");
}

#[test]
fn tori_of_side_10_at_the_stronger_coupling() {
    row(&torus(10, 0.4, 0.0), ["88.1877", "47.4041", "40.7836", ".58838", "1.0", "28.53"]);
    row(&torus(10, 0.4, 0.2), ["103.5766", "85.2376", "18.3391", ".26458", ".28552", "1.452"]);
}

/// log Z, entropy, mean-field KL, total correlation.
#[track_caller]
fn short_row(law: &TransferMatrix, figures: [&str; 4]) {
    printed(law.log_z(), figures[0]);
    printed(law.entropy(), figures[1]);
    printed(MeanField::best(law.lattice()).kl(law.log_z()), figures[2]);
    printed(law.total_correlation(), figures[3]);
}

#[test]
fn tori_of_sides_6_and_8() {
    let six = torus(6, 0.2, 0.2);
    short_row(&six, ["28.3282", "19.5457", ".8055", "1.017"]);
    printed(bits(&six, six.entropy()), ".78329");
    printed(bits(&six, six.independent_nll()), ".82404");
    short_row(&torus(8, 0.2, 0.2), ["50.3604", "34.7493", "1.431", "1.80"]);
    short_row(&torus(6, 0.4, 0.0), ["32.0573", "13.6242", "1.577", "11.33"]);
}

#[test]
fn long_tori_reach_the_density_limit() {
    for law in [law(6, 30, Boundary::Torus, 0.2, 0.2), law(30, 8, Boundary::Torus, 0.2, 0.2)] {
        let found = bits(&law, law.entropy());
        assert!(found > 0.783305 && found < 0.783325, "{found}");
    }
}

/// The strips of the table are open on all four sides.
#[test]
fn open_strips() {
    let strips = [(4, 8, "24.5808", ".84405"), (6, 10, "46.4030", ".82752"), (5, 20, "77.4063", ".82563")];
    for (rows, cols, log_z, entropy) in strips {
        for (rows, cols) in [(rows, cols), (cols, rows)] {
            let law = law(rows, cols, Boundary::Open, 0.2, 0.2);
            printed(law.log_z(), log_z);
            printed(bits(&law, law.entropy()), entropy);
        }
    }
}

/// Marginals of the paper's torus against its moments: one, two and three spins, across the seams too.
#[test]
fn marginals_of_the_papers_torus() {
    let law = torus(10, 0.2, 0.2);
    let (m, right, down) = {
        let moments = law.moments();
        (moments.magnetisation()[0], moments.right()[0], moments.down()[0])
    };
    assert!((right - down).abs() < 1e-12);
    let up = |sites: &[usize]| {
        let mut partial = [None; 100];
        sites.iter().for_each(|site| partial[*site] = Some(1));
        law.log_marginal(&partial).unwrap().exp()
    };
    assert!((up(&[37]) - (1.0 + m) / 2.0).abs() < 1e-12);
    for pair in [[40, 41], [49, 40], [95, 5], [33, 43]] {
        assert!((up(&pair) - (1.0 + 2.0 * m + right) / 4.0).abs() < 1e-12, "{pair:?}");
    }
    let mut partial = [None; 100];
    (partial[3], partial[64]) = (Some(1), Some(1));
    let given = law.conditional(63, &partial).unwrap()[1];
    assert!((given * up(&[3, 64]) - up(&[3, 64, 63])).abs() < 1e-12);
}

/// Draws of the paper's torus: the means of log f (so, the entropy) and of the magnetisation.
#[test]
fn draws_of_the_papers_torus() {
    let law = torus(10, 0.2, 0.2);
    let mut stream = Stream::new(0, Purpose::User, 0);
    let draws: Vec<Vec<i8>> = (0..1000).map(|_| law.sample(&mut stream)).collect();
    let log_f = |x: &Vec<i8>| law.lattice().log_f(x).unwrap();
    let magnetisation = |x: &Vec<i8>| x.iter().map(|s| f64::from(*s)).sum::<f64>() / 100.0;
    for (f, exact) in [
        (&log_f as &dyn Fn(&Vec<i8>) -> f64, -law.mean_energy()),
        (&magnetisation, law.moments().mean_magnetisation()),
    ] {
        let values: Vec<f64> = draws.iter().map(f).collect();
        let mean = values.iter().sum::<f64>() / 1000.0;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 999.0;
        assert!((mean - exact).abs() < 4.0 * (variance / 1000.0).sqrt(), "{mean} {exact}");
    }
}

/// Onsager 1944 (DOI 10.1103/PhysRev.65.117): `log Z` a site and `E[x_i x_j]` of neighbours on the infinite lattice
/// without a field.
fn onsager(coupling: f64) -> (f64, f64) {
    let (sinh, cosh, tanh) = ((2.0 * coupling).sinh(), (2.0 * coupling).cosh(), (2.0 * coupling).tanh());
    let k = 1.0 / (sinh * sinh);
    // The trapezoidal rule on a period converges exponentially.
    let n = 2000;
    let term = |i: usize| {
        let angle = 2.0 * std::f64::consts::PI * i as f64 / n as f64;
        (cosh * cosh + (1.0 + k * k - 2.0 * k * angle.cos()).sqrt() / k).ln()
    };
    let log_z = 0.5 * (2f64.ln() + (0..n).map(term).sum::<f64>() / n as f64);
    // The complete elliptic integral K of modulus 2 sinh / cosh^2, by the arithmetic-geometric mean.
    let modulus = 2.0 * sinh / (cosh * cosh);
    let (mut a, mut b) = (1.0, (1.0 - modulus * modulus).sqrt());
    for _ in 0..60 {
        (a, b) = (0.5 * (a + b), f64::sqrt(a * b));
    }
    let integral = std::f64::consts::FRAC_PI_2 / a;
    let correlation = 0.5 / tanh * (1.0 + std::f64::consts::FRAC_2_PI * (2.0 * tanh * tanh - 1.0) * integral);
    (log_z, correlation)
}

/// What a side of 10 changes: next to nothing far from the critical coupling `ln(1 + sqrt 2) / 2 = 0.4407`, where the
/// deviation falls as `exp(-side / correlation length)`, and 0.0025 in `log Z` a site and 0.04 in the correlation at
/// J = 0.4. Below the critical
/// temperature both magnetised states count, which adds `ln 2 / 100` to `log Z` a site.
#[test]
fn ten_by_ten_is_near_the_infinite_lattice() {
    let two_states = 2f64.ln() / 100.0;
    let cases = [(0.2, 0.0, 1e-6, 1e-5), (0.4, 0.0, 0.005, 0.05), (0.7, two_states, 1e-9, 1e-7)];
    for (coupling, extra, log_z_within, correlation_within) in cases {
        let law = torus(10, coupling, 0.0);
        let (log_z, correlation) = onsager(coupling);
        let log_z_off = law.log_z() / 100.0 - extra - log_z;
        let correlation_off = law.moments().neighbour_correlation() - correlation;
        assert!(log_z_off.abs() < log_z_within, "{coupling}: {log_z_off}");
        assert!(correlation_off.abs() < correlation_within, "{coupling}: {correlation_off}");
    }
}
