//! Two-dimensional laws that are easy to look at.
