//! ebm-repro.
