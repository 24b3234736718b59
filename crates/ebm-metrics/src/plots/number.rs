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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown: Vec<String> =
            [0.97534, 12.3456, 1.2346e-5, 1_234_567.0, -0.5, 0.0, 2e12, 99.999].map(number).to_vec();
        assert_eq!(shown, ["0.9753", "12.35", "1.235e-5", "1234567", "-0.5", "0", "2.000e12", "100"]);
        assert_eq!(number(f64::NAN), "not finite");
    }
}
