//! The experiments, one file each behind its cargo feature.

#[cfg(feature = "ebt-denoise")]
mod ebt_denoise;
#[cfg(feature = "ebt-policy")]
mod ebt_policy;
#[cfg(feature = "ebt-text")]
mod ebt_text;
#[cfg(feature = "ebwm")]
mod ebwm;
#[cfg(feature = "jem")]
mod jem;
#[cfg(feature = "samplers")]
mod samplers;
#[cfg(feature = "toy")]
mod toy;
#[allow(dead_code)]
mod training;

use crate::experiment::Experiment;

/// Every experiment compiled in: one line each.
pub static ALL: &[&dyn Experiment] = &[
    #[cfg(feature = "ebt-denoise")]
    &ebt_denoise::EbtDenoise,
    #[cfg(feature = "ebt-text")]
    &ebt_text::EbtText,
    #[cfg(feature = "ebt-text")]
    &ebt_text::EbtScaling,
    #[cfg(feature = "ebt-policy")]
    &ebt_policy::EbtPolicy,
    #[cfg(feature = "ebwm")]
    &ebwm::WorldModel,
    #[cfg(feature = "jem")]
    &jem::DIGITS,
    #[cfg(feature = "jem")]
    &jem::FASHION,
    #[cfg(feature = "samplers")]
    &samplers::Samplers,
    #[cfg(feature = "toy")]
    &toy::Toy2d,
];
