//! ebm-train.
