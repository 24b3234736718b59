//! ebm.
