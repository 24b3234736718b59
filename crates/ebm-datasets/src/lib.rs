//! ebm-datasets.
