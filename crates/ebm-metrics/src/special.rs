//! Quantiles of the normal and the beta law.
//!
//! Normal: Wichura 1988, algorithm AS 241 (PPND16), doi:10.2307/2347330; relative error about 1e-16. Beta: the
//! continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method, inverted by bisection.

const CENTRE: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ],
];
const MIDDLE: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];
const TAIL: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

/// The standard normal quantile at `p` in (0, 1).
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&CENTRE, 0.425 * 0.425 - q * q);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let z = if r <= 5.0 { ratio(&MIDDLE, r - 1.6) } else { ratio(&TAIL, r - 5.0) };
    z.copysign(q)
}

fn ratio([numerator, denominator]: &[[f64; 8]; 2], x: f64) -> f64 {
    let polynomial = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * x + c);
    polynomial(numerator) / polynomial(denominator)
}

/// `P(G >= x)` of the gamma law of shape `a` above 0 and scale 1: by its series below `a + 1`, by Lentz's continued
/// fraction above. Source: Numerical Recipes, section 6.2.
pub(crate) fn gamma_tail(a: f64, x: f64) -> f64 {
    if !(x > 0.0) {
        return if x.is_nan() { x } else { 1.0 };
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let (mut b, mut c) = (x + 1.0 - a, f64::MAX);
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..500 {
        let i = f64::from(i);
        let numerator = -i * (i - a);
        b += 2.0;
        d = 1.0 / (numerator * d + b);
        c = b + numerator / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// The quantile at `p` in (0, 1) of the beta law with `a`, `b` above 0.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if beta_probability(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// `P(X <= x)` of the beta law.
fn beta_probability(x: f64, a: f64, b: f64) -> f64 {
    let log_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    // The fraction converges fast on the near side of the mean only.
    if x < (a + 1.0) / (a + b + 2.0) {
        log_front.exp() * beta_fraction(x, a, b) / a
    } else {
        1.0 - log_front.exp() * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let guard = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            value *= c * d;
        }
        if (value - before).abs() <= 1e-15 * value.abs() {
            break;
        }
    }
    value
}

/// `ln Gamma(x)` for `x >= 1/2` (Lanczos 1964 with g = 7 and nine terms), relative error about 1e-15.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    for (k, term) in TERMS.iter().enumerate() {
        sum += term / (x + k as f64 + 1.0);
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use statrs::distribution::{Beta, ContinuousCDF};

    use super::*;

    /// `[scipy.stats.norm.ppf(p) for p in (1e-20, 1e-9, 0.001, 0.05, 0.3, 0.5, 0.8, 0.999999)]`, scipy 1.17.1.
    #[test]
    fn normal_quantiles_agree_with_scipy() {
        let table = [
            (1e-20, -9.262340089798409),
            (1e-9, -5.9978070150076865),
            (0.001, -3.090232306167813),
            (0.05, -1.6448536269514729),
            (0.3, -0.5244005127080409),
            (0.8, 0.8416212335729143),
            (0.999_999, 4.753424308817087),
        ];
        for (p, z) in table {
            assert_relative_eq!(normal_quantile(p), z, max_relative = 1e-14);
        }
        assert_eq!(normal_quantile(0.5), 0.0);
    }

    #[test]
    fn beta_quantiles_invert_the_distribution_function() {
        for (a, b) in [(1.0, 1.0), (1.5, 9.0), (31.0, 71.0), (5000.0, 300.0)] {
            let law = Beta::new(a, b).unwrap();
            for p in [0.158_655_3, 0.5, 0.841_344_7] {
                let x = beta_quantile(p, a, b);
                assert_abs_diff_eq!(law.cdf(x), p, epsilon = 1e-9);
            }
        }
        assert_abs_diff_eq!(beta_quantile(0.3, 1.0, 1.0), 0.3, epsilon = 1e-12);
        // P(X <= x) = x^a for b = 1.
        assert_abs_diff_eq!(beta_quantile(0.3, 4.0, 1.0), 0.3_f64.powf(0.25), epsilon = 1e-12);
    }

    #[test]
    fn gamma_tails_are_those_of_the_law() {
        use statrs::distribution::Gamma;
        for a in [0.5, 1.0, 1.5, 7.0, 60.0] {
            let law = Gamma::new(a, 1.0).unwrap();
            for x in [1e-3, 0.3, 1.0, 2.4, 8.0, 55.0, 90.0] {
                assert_abs_diff_eq!(gamma_tail(a, x), law.sf(x), epsilon = 1e-12);
            }
        }
        // P(|Z| >= 6) of a normal, scipy 1.17.1.
        assert_relative_eq!(gamma_tail(0.5, 18.0), 1.973175290075396e-09, max_relative = 1e-12);
        assert!(gamma_tail(1.0, f64::NAN).is_nan() && gamma_tail(1.0, 0.0) == 1.0);
    }
}
