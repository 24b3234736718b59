//! Numbers as people read them.

/// About four significant digits: `0.9753`, `12.35`, `1.2e-5`, `1234567`.
pub fn number(v: f64) -> String {
    if !v.is_finite() {
        return "not finite".into();
    }
    let size = v.abs();
    if v == v.trunc() && size < 1e9 {
        return format!("{v}");
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{v:.3e}");
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{v:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number that may be missing.
pub fn maybe(v: Option<f64>) -> String {
    v.map_or_else(|| "null".into(), number)
}

/// Seconds as `2 h 05 min`, `3 min 20 s` or `4.2 s`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let s = seconds.round() as u64;
    if s < 3600 {
        format!("{} min {:02} s", s / 60, s % 60)
    } else {
        format!("{} h {:02} min", s / 3600, s % 3600 / 60)
    }
}

/// Bytes as `1.25 GB` or `310 MB`.
pub fn bytes(n: u64) -> String {
    if n >= 1_000_000_000 { format!("{:.2} GB", n as f64 / 1e9) } else { format!("{:.0} MB", n as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown: Vec<String> =
            [0.97534, 12.3456, 1.2346e-5, 1_234_567.0, -0.5, 0.0, 2e12, 99.999].map(number).to_vec();
        assert_eq!(shown, ["0.9753", "12.35", "1.235e-5", "1234567", "-0.5", "0", "2.000e12", "100"]);
        assert_eq!(number(f64::NAN), "not finite");
        assert_eq!([4.24, 200.0, 7500.0].map(duration), ["4.2 s", "3 min 20 s", "2 h 05 min"]);
        assert_eq!(bytes(1_250_000_000), "1.25 GB");
    }
}
