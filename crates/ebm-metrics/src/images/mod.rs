//! How close images are to other images.

mod psnr;

pub use psnr::{psnr, psnr_interval, squared_errors_8bit};
