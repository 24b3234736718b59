//! What LibTorch is assembled from: the wheels, their sizes and hashes, and what is taken out of each.
//!
//! LibTorch 2.13.0 is the version that `tch` 0.26 binds. The Python package of it holds the same libraries and
//! headers, whatever the Python version, and wheels can be had wherever pip works. They are only unzipped.
//!
//! Linux on x86-64 is tried and pinned by hash. Linux on aarch64 and macOS take that platform's own wheel of the
//! same version, show its name and hash, and have not been tried.

use anyhow::Result;
use std::fmt;

use crate::fail::bad;

/// The LibTorch version that the workspace builds against.
pub const TORCH_VERSION: &str = "2.13.0";

/// Which LibTorch: the small one, or the one with CUDA and NVIDIA's libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// CPU only: about 0.5 GB.
    Cpu,
    /// With CUDA: several GB.
    Cuda,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavor::Cpu => "cpu",
            Flavor::Cuda => "cuda",
        })
    }
}

impl Flavor {
    /// The folder's name in the cache.
    pub fn folder(self) -> String {
        format!("libtorch-{TORCH_VERSION}-{self}")
    }

    /// The flavor of a folder that setup named; `None` for any other folder.
    pub fn of_folder(name: &str) -> Option<Flavor> {
        let (version, flavor) = name.strip_prefix("libtorch-")?.rsplit_once('-')?;
        if version.is_empty() || !version.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return None;
        }
        match flavor {
            "cpu" => Some(Flavor::Cpu),
            "cuda" => Some(Flavor::Cuda),
            _ => None,
        }
    }
}

/// What is taken out of a wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// `torch/include`, and from `torch/lib` the files named.
    TorchFiles(&'static [&'static str]),
    /// `torch/include`, and `torch/lib` but for the libraries of Python and CUDA.
    TorchHost,
    /// `torch/include`, and `torch/lib` but for the library of Python.
    TorchAll,
    /// The libraries named, wherever they are, flat into `lib/`.
    Libraries(&'static [&'static str]),
    /// Every shared library, flat into `lib/`.
    AllLibraries,
}

/// One wheel.
#[derive(Clone, Copy, Debug)]
pub struct Wheel {
    pub package: &'static str,
    pub version: &'static str,
    /// The wheel's file name, size and sha256, where they are known.
    pub known: Option<Known>,
    pub take: Take,
}

/// What is known of a wheel's file.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub file: &'static str,
    pub bytes: u64,
    pub sha256: &'static str,
}

/// All that is needed for one LibTorch.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub flavor: Flavor,
    /// The platform, for people.
    pub platform: &'static str,
    /// pip's `--platform` tags.
    pub tags: &'static [&'static str],
    pub wheels: &'static [Wheel],
    /// Bytes of the finished folder (an upper bound where it is not known).
    pub unpacked_bytes: u64,
    /// Libraries whose size is known: a finished folder holds them all.
    pub libraries: &'static [(&'static str, u64)],
    /// Whether a linker script stands in for the wheel's `libtorch.so`.
    pub linker_script: bool,
}

const TORCH_X86_64: Known = Known {
    file: "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    bytes: 526_574_961,
    sha256: "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
};
const CUPTI_X86_64: Known = Known {
    file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
    bytes: 10_715_597,
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
};
const CUDA_RUNTIME_X86_64: Known = Known {
    file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    bytes: 2_243_632,
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
};

const LINUX_X86_64_TAGS: &[&str] = &[
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_18_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
];

/// `libtorch_cpu.so` is linked against two of NVIDIA's libraries, so even the CPU LibTorch needs them.
/// `libtorch_cuda.so` is left out: `torch-sys` links CUDA as soon as that file is there.
const CPU_LINUX_X86_64: Recipe = Recipe {
    flavor: Flavor::Cpu,
    platform: "Linux on x86-64",
    tags: LINUX_X86_64_TAGS,
    wheels: &[
        Wheel {
            package: "torch",
            version: TORCH_VERSION,
            known: Some(TORCH_X86_64),
            take: Take::TorchFiles(&["libc10.so", "libtorch_cpu.so", "libgomp.so.1", "libshm.so"]),
        },
        Wheel {
            package: "nvidia-cuda-cupti",
            version: "13.0.85",
            known: Some(CUPTI_X86_64),
            take: Take::Libraries(&["libcupti.so.13"]),
        },
        Wheel {
            package: "nvidia-cuda-runtime",
            version: "13.0.96",
            known: Some(CUDA_RUNTIME_X86_64),
            take: Take::Libraries(&["libcudart.so.13"]),
        },
    ],
    unpacked_bytes: 510_000_000,
    libraries: &[
        ("libc10.so", 1_623_185),
        ("libcudart.so.13", 704_288),
        ("libcupti.so.13", 4_152_208),
        ("libgomp.so.1", 254_009),
        ("libshm.so", 57_065),
        ("libtorch_cpu.so", 438_418_417),
    ],
    linker_script: true,
};

/// The wheel's own `lib/` beside NVIDIA's libraries, all in one folder: the libraries look for each other there.
const CUDA_LINUX_X86_64: Recipe = Recipe {
    flavor: Flavor::Cuda,
    platform: "Linux on x86-64",
    tags: LINUX_X86_64_TAGS,
    wheels: &[
        Wheel { package: "torch", version: TORCH_VERSION, known: Some(TORCH_X86_64), take: Take::TorchAll },
        libraries_of(
            "nvidia-cublas",
            "13.1.1.3",
            Known {
                file: "nvidia_cublas-13.1.1.3-py3-none-manylinux_2_27_x86_64.whl",
                bytes: 423_138_758,
                sha256: "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
            },
        ),
        libraries_of("nvidia-cuda-cupti", "13.0.85", CUPTI_X86_64),
        libraries_of(
            "nvidia-cuda-nvrtc",
            "13.0.88",
            Known {
                file: "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
                bytes: 90_215_200,
                sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
            },
        ),
        libraries_of("nvidia-cuda-runtime", "13.0.96", CUDA_RUNTIME_X86_64),
        libraries_of(
            "nvidia-cudnn-cu13",
            "9.20.0.48",
            Known {
                file: "nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl",
                bytes: 366_173_588,
                sha256: "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304",
            },
        ),
        libraries_of(
            "nvidia-cufft",
            "12.0.0.61",
            Known {
                file: "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                bytes: 214_085_489,
                sha256: "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
            },
        ),
        libraries_of(
            "nvidia-cufile",
            "1.15.1.6",
            Known {
                file: "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                bytes: 1_223_672,
                sha256: "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
            },
        ),
        libraries_of(
            "nvidia-curand",
            "10.4.0.35",
            Known {
                file: "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
                bytes: 59_544_258,
                sha256: "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
            },
        ),
        libraries_of(
            "nvidia-cusolver",
            "12.0.4.66",
            Known {
                file: "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl",
                bytes: 200_941_980,
                sha256: "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
            },
        ),
        libraries_of(
            "nvidia-cusparse",
            "12.6.3.3",
            Known {
                file: "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                bytes: 145_942_937,
                sha256: "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
            },
        ),
        libraries_of(
            "nvidia-cusparselt-cu13",
            "0.8.1",
            Known {
                file: "nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl",
                bytes: 170_148_586,
                sha256: "786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0",
            },
        ),
        libraries_of(
            "nvidia-nccl-cu13",
            "2.29.7",
            Known {
                file: "nvidia_nccl_cu13-2.29.7-py3-none-manylinux_2_18_x86_64.whl",
                bytes: 205_976_000,
                sha256: "edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d",
            },
        ),
        libraries_of(
            "nvidia-nvjitlink",
            "13.5.37",
            Known {
                file: "nvidia_nvjitlink-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
                bytes: 46_642_491,
                sha256: "280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb",
            },
        ),
        libraries_of(
            "nvidia-nvshmem-cu13",
            "3.4.5",
            Known {
                file: "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
                bytes: 60_412_546,
                sha256: "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
            },
        ),
        libraries_of(
            "nvidia-nvtx",
            "13.0.85",
            Known {
                file: "nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl",
                bytes: 148_047,
                sha256: "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
            },
        ),
    ],
    unpacked_bytes: 3_900_000_000,
    libraries: &[("libtorch_cuda.so", 469_850_385), ("libtorch_cpu.so", 438_418_417)],
    linker_script: true,
};

/// A wheel of which every shared library is taken.
const fn libraries_of(package: &'static str, version: &'static str, known: Known) -> Wheel {
    Wheel { package, version, known: Some(known), take: Take::AllLibraries }
}

const CPU_LINUX_AARCH64: Recipe = Recipe {
    flavor: Flavor::Cpu,
    platform: "Linux on aarch64 (not tried)",
    tags: &["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"],
    wheels: &[Wheel { package: "torch", version: TORCH_VERSION, known: None, take: Take::TorchHost }],
    unpacked_bytes: 1_500_000_000,
    libraries: &[],
    linker_script: true,
};

const CPU_MACOS_AARCH64: Recipe = Recipe {
    flavor: Flavor::Cpu,
    platform: "macOS on Apple silicon (not tried)",
    tags: &["macosx_11_0_arm64", "macosx_12_0_arm64", "macosx_13_0_arm64", "macosx_14_0_arm64"],
    wheels: &[Wheel { package: "torch", version: TORCH_VERSION, known: None, take: Take::TorchHost }],
    unpacked_bytes: 1_000_000_000,
    libraries: &[],
    linker_script: false,
};

impl Recipe {
    /// The recipe for this machine.
    pub fn find(flavor: Flavor) -> Result<&'static Recipe> {
        Recipe::find_for(flavor, std::env::consts::OS, std::env::consts::ARCH)
    }

    fn find_for(flavor: Flavor, os: &str, arch: &str) -> Result<&'static Recipe> {
        match (flavor, os, arch) {
            (Flavor::Cpu, "linux", "x86_64") => Ok(&CPU_LINUX_X86_64),
            (Flavor::Cuda, "linux", "x86_64") => Ok(&CUDA_LINUX_X86_64),
            (Flavor::Cpu, "linux", "aarch64") => Ok(&CPU_LINUX_AARCH64),
            (Flavor::Cpu, "macos", "aarch64") => Ok(&CPU_MACOS_AARCH64),
            _ => Err(bad(format!(
                "no LibTorch {TORCH_VERSION} ({flavor}) is known for {os} on {arch}; get one yourself and set LIBTORCH to its folder (the one that holds include/ and lib/)"
            ))),
        }
    }

    /// Bytes to download, as far as they are known.
    pub fn download_bytes(&self) -> u64 {
        self.wheels.iter().filter_map(|wheel| wheel.known).map(|known| known.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&Recipe; 4] = [&CPU_LINUX_X86_64, &CUDA_LINUX_X86_64, &CPU_LINUX_AARCH64, &CPU_MACOS_AARCH64];

    #[test]
    fn the_table_is_well_formed() {
        for recipe in ALL {
            assert_eq!(recipe.wheels[0].package, "torch");
            assert!(!recipe.tags.is_empty());
            for wheel in recipe.wheels {
                let Some(known) = wheel.known else { continue };
                assert_eq!(known.sha256.len(), 64, "{}", wheel.package);
                assert!(known.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
                let start = format!("{}-{}-", wheel.package.replace('-', "_"), wheel.version);
                assert!(known.file.starts_with(&start) && known.file.ends_with(".whl"), "{}", known.file);
                assert!(known.bytes > 0);
            }
        }
    }

    #[test]
    fn on_x86_64_every_wheel_is_pinned() {
        for recipe in [&CPU_LINUX_X86_64, &CUDA_LINUX_X86_64] {
            assert!(recipe.wheels.iter().all(|wheel| wheel.known.is_some()));
        }
    }

    #[test]
    fn the_cpu_one_leaves_cuda_out() {
        assert!(CPU_LINUX_X86_64.libraries.iter().all(|(name, _)| *name != "libtorch_cuda.so"));
        let Take::TorchFiles(names) = CPU_LINUX_X86_64.wheels[0].take else { panic!("not all of torch") };
        assert!(!names.contains(&"libtorch_cuda.so"));
    }

    #[test]
    fn platforms() {
        assert!(Recipe::find_for(Flavor::Cpu, "linux", "x86_64").is_ok());
        let error = Recipe::find_for(Flavor::Cuda, "macos", "aarch64").unwrap_err();
        assert!(error.to_string().contains("LIBTORCH"), "{error}");
        assert_eq!(crate::fail::code(&error), 2);
    }

    #[test]
    fn folder_names() {
        assert_eq!(Flavor::Cpu.folder(), "libtorch-2.13.0-cpu");
        assert_eq!(Flavor::of_folder("libtorch-2.13.0-cuda"), Some(Flavor::Cuda));
        assert_eq!(Flavor::of_folder("libtorch-2.12.1-cpu"), Some(Flavor::Cpu));
        assert_eq!(Flavor::of_folder("libtorch"), None);
        assert_eq!(Flavor::of_folder("libtorch-mine-cpu"), None);
    }
}
