//! ebm-train.

pub mod logs;
