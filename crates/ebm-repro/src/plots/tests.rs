//! Every plot draws what it is given, and anything that it could be given.

use ebm_metrics::classification::CalibrationBin;
use proptest::prelude::*;

use super::*;

fn is_svg(text: &str) -> bool {
    text.starts_with("<svg ") && text.trim_end().ends_with("</svg>") && !text.contains("NaN")
}

fn bin(confidence: f64, accuracy: f64, count: usize) -> CalibrationBin {
    CalibrationBin { low: 0.0, high: 1.0, count, confidence, accuracy }
}

#[test]
fn text_needs_no_fonts_and_is_escaped() {
    let svg =
        lines(&Axes::new("step", "a < b & c"), &[Series::of_values("<loss>", &[1.0, 2.0, 1.5])]).unwrap();
    assert!(is_svg(&svg), "{svg}");
    assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&lt;loss&gt;") && svg.contains("step"));
    assert!(svg.contains("width=\"520\" height=\"310\""));
}

#[test]
fn long_curves_are_thinned() {
    let values: Vec<f64> = (0..200_000).map(|i| f64::from(i).sin()).collect();
    let axes = Axes::new("step", "loss");
    assert!(lines(&axes, &[Series::of_values("a", &values)]).unwrap().len() < 40_000);
    assert!(traces(&axes, &vec![values; 8]).unwrap().len() < 150_000);
}

#[test]
fn nothing_and_nonsense_are_no_data() {
    let axes = Axes::new("x", "y");
    for values in [vec![], vec![f64::NAN], vec![f64::INFINITY; 3]] {
        assert!(lines(&axes, &[Series::of_values("a", &values)]).unwrap().contains("no data"));
        assert!(scatter(&axes, &[Series::of_values("a", &values)]).unwrap().contains("no data"));
        assert!(traces(&axes, std::slice::from_ref(&values)).unwrap().contains("no data"));
        assert!(histograms(&axes, &[("a", &values)], 20).unwrap().contains("no data"));
    }
    assert!(reliability(&[("a", &[bin(0.0, 0.0, 0)])]).unwrap().contains("no data"));
    let map = HeatMap { n_x: 2, n_y: 1, x: 0.0..1.0, y: 0.0..1.0, values: &[f64::NAN; 2], scale: None };
    assert!(heat_map(&axes, &map, &[]).unwrap().contains("no data"));
    assert!(heat_map(&axes, &HeatMap { n_x: 3, ..map }, &[]).is_err());
}

#[test]
fn a_heat_map_holds_its_picture() {
    let map =
        HeatMap { n_x: 2, n_y: 2, x: -1.0..1.0, y: -1.0..1.0, values: &[0.0, 1.0, 2.0, 3.0], scale: None };
    let svg = heat_map(&Axes::new("x", "y"), &map, &[(0.5, 0.5), (9.0, 9.0)]).unwrap();
    assert!(is_svg(&svg) && svg.contains("data:image/png;base64,iVBOR"));
    // The dots lie above the picture, and the point outside is left out.
    assert_eq!(svg.matches("<circle").count(), 1);
    assert!(svg.find("<image").unwrap() < svg.find("<circle").unwrap());
}

fn any_numbers() -> impl Strategy<Value = Vec<f64>> {
    let wild = prop_oneof![prop::num::f64::ANY, -1e3..1e3, Just(0.0), Just(1.0)];
    prop::collection::vec(wild, 0..12)
}

proptest! {
    #[test]
    fn no_numbers_make_a_plot_panic(a in any_numbers(), b in any_numbers(), log_x: bool, log_y: bool) {
        let axes = Axes { log_x, log_y, ..Axes::new("x", "y") };
        let points = a.iter().copied().zip(b.iter().copied()).collect();
        prop_assert!(is_svg(&lines(&axes, &[Series::new("a", points), Series::of_values("b", &b)]).unwrap()));
        prop_assert!(is_svg(&scatter(&axes, &[Series::of_values("b", &b)]).unwrap()));
        prop_assert!(is_svg(&traces(&axes, &[a.clone(), b.clone()]).unwrap()));
        prop_assert!(is_svg(&histograms(&axes, &[("a", &a), ("b", &b)], a.len()).unwrap()));
    }
}
