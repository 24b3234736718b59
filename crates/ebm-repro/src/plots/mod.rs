//! Plots as SVG texts.
