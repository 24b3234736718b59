//! The plots of chains, whatever the chains.

use ebm_core::random::{Purpose, Stream};
use ndarray::{Array2, Array3, array};
use proptest::prelude::*;

use super::*;

fn is_svg(text: &str) -> bool {
    text.starts_with("<svg ")
        && text.trim_end().ends_with("</svg>")
        && text.matches("<svg ").count() == text.matches("</svg>").count()
        && !text.contains("NaN")
}

/// Uniform draws; chain 2 shifted in coordinate 0, coordinate 1 a slow walk.
fn draws(n_chains: usize, n_draws: usize, dim: usize) -> Array3<f64> {
    let mut draws = Array3::zeros((n_chains, n_draws, dim));
    for c in 0..n_chains {
        let mut rng = Stream::new(3, Purpose::User, c as u64);
        let mut walk = 0.0;
        for t in 0..n_draws {
            for d in 0..dim {
                draws[[c, t, d]] = rng.uniform() + if (c, d) == (2, 0) { 0.8 } else { 0.0 };
            }
            if dim > 1 {
                walk = 0.97 * walk + rng.uniform() - 0.5;
                draws[[c, t, 1]] = walk;
            }
        }
    }
    draws
}

#[test]
fn everything_is_saved_in_one_call() {
    let draws = draws(4, 200, 3);
    let energy = draws.index_axis(ndarray::Axis(2), 0).to_owned();
    let diverging = energy.mapv(|e| f64::from(u8::from(e > 1.5)));
    let n_diverging = diverging.sum() as usize;
    assert!(n_diverging > 5);
    let folder = tempfile::tempdir().unwrap();
    let plots = ChainPlots::new(draws.view())
        .unwrap()
        .names(&["mu", "a<b", "a_coordinate_with_a_long_name[7]"])
        .unwrap()
        .energy(energy.view())
        .unwrap()
        .diverging(diverging.view())
        .unwrap();
    let files = plots.save(folder.path().join("plots")).unwrap();
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["trace.svg", "rank.svg", "pair.svg", "energy.svg"]);
    for file in &files {
        let svg = std::fs::read_to_string(file).unwrap();
        assert!(is_svg(&svg) && svg.len() < 600_000, "{}: {}", file.display(), svg.len());
        if !file.ends_with("energy.svg") {
            assert!(svg.contains("a&lt;b") && svg.contains("a_coordinat…ng_name[7]"));
        }
    }
    let pair = plots.pair_plot().unwrap();
    assert!(pair.contains(&format!("divergences ({n_diverging} of {n_diverging})")));
    // Positions take the place of the draws that diverged.
    let there = array![[9.0, 9.0, 9.0]];
    let plots = plots.divergences(there.view()).unwrap();
    assert!(plots.pair_plot().unwrap().contains("divergences (1 of 1)"));
    // Without energies there is no plot of them.
    assert!(ChainPlots::new(draws.view()).unwrap().energy_plot().unwrap().is_none());
}

/// The marks that can be counted: one dot per draw, one bar per bin and chain.
#[test]
fn the_numbers_are_drawn() {
    let draws = draws(3, 50, 2);
    let plots = ChainPlots::new(draws.view()).unwrap();
    assert_eq!(plots.pair_plot().unwrap().matches("<circle").count(), 150);
    let tall = |svg: &str| svg.matches("fill=\"#0072B2\"").count();
    assert_eq!(tall(&plots.rank_plot().unwrap()), 2 * 3 * 20);
    let energy = array![[1.0, 2.0, 4.0, 3.0], [1.0, 1.0, 1.0, f64::NAN]];
    let draws = Array3::zeros((2, 4, 1));
    let svg = ChainPlots::new(draws.view()).unwrap().energy(energy.view()).unwrap().energy_plot().unwrap();
    let svg = svg.unwrap();
    assert_eq!(svg.matches("<circle").count(), 1);
    assert!(
        svg.contains("below 0.3 in 1 of 2 chains (chain 1: none)") && svg.contains("(1 not finite)"),
        "{svg}"
    );
}

#[test]
fn of_many_the_worst_are_shown() {
    let draws = draws(64, 100, 30);
    let plots = ChainPlots::new(draws.view()).unwrap();
    let (chosen, note) = plots.chosen(5).unwrap();
    assert!(chosen.contains(&0) && chosen.contains(&1) && chosen.len() == 5, "{chosen:?}");
    assert!(note.starts_with("5 of 30"));
    assert!(plots.chains_apart(&[0], 4).contains(&2));
    for svg in [plots.trace_plot().unwrap(), plots.rank_plot().unwrap(), plots.pair_plot().unwrap()] {
        assert!(is_svg(&svg) && svg.contains(" of 30 coordinates") && svg.len() < 2_000_000, "{}", svg.len());
    }
    assert!(plots.rank_plot().unwrap().contains("chain 2\n"));
    let asked = plots.clone().coordinates(&[29, 3]).unwrap();
    assert!(asked.trace_plot().unwrap().contains("x[29]") && asked.chosen(1).unwrap().0 == [29]);
    assert!(plots.clone().coordinates(&[30]).is_err() && plots.clone().coordinates(&[]).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    for shape in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        assert!(ChainPlots::new(Array3::zeros(shape).view()).is_err());
    }
    let draws = draws(2, 10, 2);
    let plots = ChainPlots::new(draws.view()).unwrap();
    assert!(plots.clone().names(&["one"]).is_err());
    let wrong = Array2::zeros((2, 9));
    assert!(plots.clone().energy(wrong.view()).is_err() && plots.clone().diverging(wrong.view()).is_err());
    assert!(plots.clone().divergences(wrong.view()).is_err());
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1e3..1e3, 1 => prop::num::f64::ANY, 1 => Just(0.0), 1 => Just(1.0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_draws_make_a_plot_panic(
        n_chains in 1_usize..9,
        n_draws in 1_usize..6,
        values in prop::collection::vec(any_number(), 2 * 8 * 5),
    ) {
        let draws = Array3::from_shape_fn((n_chains, n_draws, 2), |(c, t, d)| values[(c * n_draws + t) * 2 + d]);
        let energy = draws.index_axis(ndarray::Axis(2), 1);
        let plots = ChainPlots::new(draws.view()).unwrap().energy(energy).unwrap().diverging(energy).unwrap();
        prop_assert!(is_svg(&plots.trace_plot().unwrap()));
        prop_assert!(is_svg(&plots.rank_plot().unwrap()));
        prop_assert!(is_svg(&plots.pair_plot().unwrap()));
        prop_assert!(is_svg(&plots.energy_plot().unwrap().unwrap()));
    }
}
