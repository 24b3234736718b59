//! ebm-models.
