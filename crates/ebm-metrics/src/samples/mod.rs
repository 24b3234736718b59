//! How close samples are to data: Frechet distance, PCA, MMD, total variation on a grid, nearest neighbours; and
//! whether they come from a known law.

mod exactness;
mod frechet;
mod grid;
mod mmd;
mod nearest;
mod pca;

pub use exactness::{Exactness, chi_square, exactness, kolmogorov_smirnov, moment_z, two_sided};
pub use frechet::{frechet_distance, frechet_distance_of_moments};
pub use grid::{Grid2d, GridHistogram, total_variation};
pub use mmd::{MmdTest, median_distance, mmd_squared, mmd_test};
pub use nearest::{Neighbour, nearest_neighbours};
pub use pca::Pca;
