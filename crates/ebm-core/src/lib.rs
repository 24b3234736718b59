//! ebm-core.
