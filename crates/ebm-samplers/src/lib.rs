//! ebm-samplers.
