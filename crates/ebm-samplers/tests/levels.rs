//! Chains are the same bits at every vector level of the machine.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use ebm_core::analytic::{DoubleWell, Gaussian};
use ebm_core::random::{Purpose, Stream};
use ebm_core::simd::{Level, level};
use ebm_core::{Block, HostEnergy, HostPoint, Rbm, Real};
use ebm_samplers::{Hmc, Kernel, Mala, PackedRbm, Ula, sample_host};

/// What the parent process reads from the child's output.
const MARK: &str = "bits of the last positions:";

fn hash<X: HostPoint, E: Sync, K: Kernel<X, E> + Sync>(kernel: &K, energy: &E, starts: Vec<X>) -> u64 {
    let mut hash = 0u64;
    for (x, ()) in sample_host(kernel, energy, starts, 30, 7, |_| ()).unwrap() {
        for x in x.to_rows().unwrap() {
            hash = (hash ^ f64::to_bits(x)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash
}

/// Every kind of host point, short and long, whole blocks and a part of one.
fn hashes<T: Real>() -> Vec<u64>
where
    Gaussian: HostEnergy<T>,
    DoubleWell: HostEnergy<T>,
{
    let well = DoubleWell::new(2.0).unwrap();
    let mut found = Vec::new();
    for dim in [1, 2, 5, 32, 67] {
        let mut start = vec![T::default(); 70 * dim];
        Stream::new(0, Purpose::Start, 0).fill_normal(&mut start);
        let blocks = Block::from_rows(dim, &start).unwrap();
        let vectors: Vec<Vec<T>> = start.chunks(dim).take(3).map(<[T]>::to_vec).collect();
        let covariance = (0..dim * dim).map(|k| 0.5f64.powi((k / dim).abs_diff(k % dim) as i32)).collect();
        let gaussian = Gaussian::new(vec![0.0; dim], covariance).unwrap();
        found.push(hash(&Ula::new(0.01).clamp(-1.5, 1.5), &well, blocks.clone()));
        found.push(hash(&Ula::new(0.01), &well, vectors.clone()));
        found.push(hash(&Hmc::new(0.1, 3), &gaussian, blocks.clone()));
        found.push(hash(&Hmc::new(0.1, 3), &gaussian, vectors));
        found.push(hash(&Mala::new(0.1), &well, blocks));
    }
    found
}

/// Packed chains of a machine whose sides fill no block of units.
fn packed_hash() -> u64 {
    let mut numbers = Stream::new(1, Purpose::Start, 0);
    let mut normals = |n: usize| (0..n).map(|_| numbers.normal()).collect::<Vec<f64>>();
    let rbm = Rbm::new(normals(35 * 10), normals(35), normals(10)).unwrap();
    let (mut chains, mut rng) = (PackedRbm::new(&rbm), Stream::new(7, Purpose::Chain, 0));
    let mut hash = 0u64;
    for _ in 0..200 {
        chains.step(&mut rng);
        for word in chains.visible().iter().chain(chains.hidden()) {
            hash = (hash ^ word).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash
}

/// The level is chosen once per process, so each level is a child process that runs this same test.
#[allow(clippy::print_stdout)]
#[test]
fn chains_are_the_same_bits_at_every_level() {
    const CHILD: &str = "EBM_TEST_PRINTS_BITS";
    if std::env::var_os(CHILD).is_some() {
        println!("{MARK} {} {:x?} {:x?} {:x}", level(), hashes::<f32>(), hashes::<f64>(), packed_hash());
        return;
    }
    let output = |asked: Level| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "chains_are_the_same_bits_at_every_level", "--nocapture"])
            .env(CHILD, "1")
            .env("EBM_CPU_LEVEL", asked.name())
            .output()
            .unwrap();
        let text = String::from_utf8(child.stdout).unwrap();
        let line = text.lines().find_map(|l| l.split_once(MARK)).map(|(_, line)| line.trim().to_owned());
        line.unwrap_or_else(|| panic!("{asked}: {text}"))
    };
    let portable = output(Level::Portable);
    let bits = portable.strip_prefix("portable ").unwrap();
    for other in Level::available() {
        assert_eq!(output(other), format!("{other} {bits}"));
    }
}
