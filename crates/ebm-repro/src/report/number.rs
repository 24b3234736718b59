//! Numbers as people read them.

pub use ebm_metrics::plots::number;

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
        assert_eq!([4.24, 200.0, 7500.0].map(duration), ["4.2 s", "3 min 20 s", "2 h 05 min"]);
        assert_eq!(bytes(1_250_000_000), "1.25 GB");
    }
}
