//! ebm-metrics.
