//! What theory says of every kernel on every target that the gallery runs: exact, biased, or does not mix.
//!
//! The gallery runs what stands here and nothing else. Exact and biased pairs are gated, a gate each, by the pair's
//! name, `<kernel>_<target>`; pairs that do not mix are shown. The tests below hold the table against the preset's gates,
//! the page in the docs and the kernels of `ebm-samplers`.

/// What theory says of a kernel on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Its law is the target.
    Exact,
    /// Its law is off by a power of the step size, or of what stands for it: of `exp(-1 / (2 h))` for discrete Langevin,
    /// of the distance between two rungs for thermodynamic integration. Compared with the law, or the value, that
    /// theory gives in closed form; where there is none, the bias is measured at two steps, one half of the other.
    Biased {
        /// The power.
        order: u32,
    },
    /// It leaves the target invariant but does not get around in it.
    DoesNotMix,
}

impl Expected {
    /// As it is written in the report and in the docs.
    pub fn words(self) -> String {
        match self {
            Self::Exact => "exact".to_owned(),
            Self::Biased { order } => format!("biased (order {order})"),
            Self::DoesNotMix => "does not mix".to_owned(),
        }
    }

    /// Whether theory says what must come out.
    pub fn is_gated(self) -> bool {
        self != Self::DoesNotMix
    }
}

use Expected::{Biased, DoesNotMix, Exact};

/// Target, what theory says there, and of which kernels. A kernel's name ends in what its chains are where they are not
/// vectors: `_blocks`, `_tensors`.
pub const TABLE: &[(&str, Expected, &[&str])] = &[
    ("gaussian", Exact, ADJUSTED),
    ("gaussian", Exact, SLICES),
    ("banana", Exact, ADJUSTED),
    ("banana", Exact, SLICES),
    ("double_well", Exact, ADJUSTED),
    ("double_well", Exact, SLICES),
    ("near_modes", Biased { order: 1 }, &["ula", "sghmc"]),
    ("far_modes", DoesNotMix, ADJUSTED),
    ("far_modes", Exact, &["tempering", "smc"]),
    ("far_modes", Biased { order: 1 }, &["annealed_langevin"]),
    ("far_modes_log_z", Exact, &["ais", "stepping_stone", "nested"]),
    ("funnel", DoesNotMix, ADJUSTED),
    ("funnel", Exact, &["rmhmc"]),
    (
        "standard_normal",
        Biased { order: 1 },
        &["ula", "ula_blocks", "ula_tensors", "sghmc", "annealed_langevin"],
    ),
    ("standard_normal", Exact, &["baoab"]),
    ("standard_normal", Biased { order: 2 }, &["mclmc", "mclmc_leapfrog"]),
    ("ising_field", Exact, &["gibbs", "gibbs_random", "block_gibbs", "gibbs_with_gradients", "dmala"]),
    ("ising_field", Exact, &["gibbs_with_gradients_tensors", "dmala_tensors"]),
    ("ising", Exact, &["checkerboard", "swendsen_wang", "wolff"]),
    ("potts", Exact, &["gibbs", "block_gibbs", "gibbs_with_gradients", "dmala"]),
    ("potts", Exact, &["gibbs_with_gradients_tensors", "dmala_tensors"]),
    ("potts", Exact, &["checkerboard", "swendsen_wang", "wolff"]),
    ("rbm", Exact, &["gibbs", "rbm_gibbs", "gibbs_with_gradients", "dmala"]),
    ("independent_bits", Biased { order: 1 }, &["dula", "dula_tensors"]),
    ("cold_ising", DoesNotMix, &["gibbs", "checkerboard"]),
    ("cold_ising", Exact, &["wolff", "swendsen_wang"]),
    ("ising_log_z", Exact, &["stepping_stone", "wham"]),
    ("ising_log_z", Biased { order: 2 }, &["thermodynamic_trapezoid"]),
    ("ising_log_z", Biased { order: 4 }, &["thermodynamic_integration"]),
];

/// The kernels with an accept step, on every kind of point they are run on.
const ADJUSTED: &[&str] =
    &["mala", "hmc", "hmc_blocks", "hmc_dense", "hmc_tensors", "nuts", "nuts_tensors", "mclmc_adjusted"];

/// The kernels that need no gradient.
const SLICES: &[&str] = &["slice", "slice_random", "elliptical_slice"];

/// Every pair: kernel, target, what theory says.
pub fn pairs() -> impl Iterator<Item = (&'static str, &'static str, Expected)> {
    TABLE.iter().flat_map(|(target, expected, kernels)| kernels.iter().map(|k| (*k, *target, *expected)))
}

/// What theory says of a pair; `None` where the table does not hold it.
pub fn expected(kernel: &str, target: &str) -> Option<Expected> {
    pairs().find(|(k, t, _)| (*k, *t) == (kernel, target)).map(|(_, _, expected)| expected)
}

/// The name of a pair's gate and metrics.
pub fn name(kernel: &str, target: &str) -> String {
    format!("{kernel}_{target}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::experiments::samplers::cell::LEVEL;
    use crate::preset::{EMBEDDED, Kind, Preset};

    fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_pair_stands_once_and_a_biased_one_has_an_order() {
        let names = sorted(pairs().map(|(kernel, target, _)| name(kernel, target)));
        let once: BTreeSet<&String> = names.iter().collect();
        assert_eq!(once.len(), names.len());
        assert!(pairs().all(|(.., expected)| expected != Biased { order: 0 }));
    }

    /// A gate for each pair of which theory says what must come out, all at one level, and the bracket's.
    #[test]
    fn the_presets_gates_are_the_tables() {
        let (name_of, _, text) = EMBEDDED.iter().find(|(name, ..)| *name == "samplers").unwrap();
        let preset = Preset::parse(name_of, Kind::Cpu, text).unwrap();
        let (bracket, gates): (Vec<_>, Vec<_>) = preset.gates().iter().partition(|g| g.name == "ais_bracket");
        assert_eq!(bracket.len(), 1);
        assert!(gates.iter().all(|g| g.threshold == Some(LEVEL)));
        let gated = pairs().filter(|(.., expected)| expected.is_gated());
        assert_eq!(
            sorted(gates.iter().map(|g| g.name.clone())),
            sorted(gated.map(|(kernel, target, _)| name(kernel, target)))
        );
    }

    /// Lines `| target | kernel | theory | ...` of the page.
    #[test]
    fn the_docs_have_the_table() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gallery.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1).map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            cells[1..4].join(" | ")
        });
        let words = |name: &str| name.replace('_', " ");
        let table = pairs().map(|(kernel, target, e)| [words(target), words(kernel), e.words()].join(" | "));
        assert_eq!(sorted(rows), sorted(table));
    }

    /// Every type of `ebm-samplers` that is a kernel, by its implementations, and the methods that are more than a
    /// kernel. A pair's kernel is the type's name in lower case, or begins with it.
    #[test]
    fn no_sampler_is_forgotten() {
        let mut samplers: BTreeSet<String> =
            ["Tempering", "Smc", "Ais", "Nested", "AnnealedLangevin", "Wham"]
                .into_iter()
                .chain(["SteppingStone", "ThermodynamicIntegration"])
                .map(str::to_owned)
                .collect();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebm-samplers/src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                // What follows the tests' own module are kernels for tests.
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let is_kernel = |line: &&str| line.starts_with("impl") && line.contains("Kernel<");
                let types = text.lines().filter(is_kernel).filter_map(|line| line.split("> for ").nth(1));
                samplers.extend(types.map(|t| t.split([' ', '<']).next().unwrap_or_default().to_owned()));
            }
        }
        assert!(samplers.len() >= 25, "{samplers:?}");
        for sampler in samplers {
            let snake: String = sampler
                .chars()
                .enumerate()
                .flat_map(|(i, c)| {
                    let gap = (i > 0 && c.is_uppercase()).then_some('_');
                    gap.into_iter().chain(c.to_lowercase())
                })
                .collect();
            let found = pairs().any(|(kernel, ..)| {
                kernel.strip_prefix(&snake).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            });
            assert!(found, "{sampler} has no pair in the table");
        }
    }
}
