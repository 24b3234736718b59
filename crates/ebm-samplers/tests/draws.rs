//! Draws from a run into a folder, packed, and read by others: NumPy's format by `ndarray-npy`, Arrow by its own reader.

#![allow(clippy::unwrap_used)]

use ebm_core::analytic::Gaussian;
use ebm_core::{Block, Result};
use ebm_samplers::{DrawFolder, DrawSink, Hmc, NpySink, Nuts, SampleConfig, Sampler, sample, sample_into};

fn target() -> Gaussian {
    Gaussian::new(vec![1.0, -1.0], vec![2.0, 0.5, 0.5, 1.0]).unwrap()
}

fn rows(n: usize) -> Vec<f64> {
    (0..2 * n).map(|i| (i as f64).sin()).collect()
}

/// What is in the files is what would have been in memory, whatever the point.
#[test]
fn files_hold_the_draws_of_the_run() {
    let config = SampleConfig { n_draws: 50, burn_in: 10, ..SampleConfig::default() };
    let kernel = Hmc::new(0.4, 3);
    let read = |folder: &DrawFolder, chain: usize| -> Vec<f64> {
        let bytes = std::fs::read(folder.path().join(format!("chain-{chain}.x.npy"))).unwrap();
        bytes[128..].as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect()
    };
    let root = tempfile::tempdir().unwrap();

    let starts: Vec<Vec<f64>> = rows(3).chunks(2).map(<[f64]>::to_vec).collect();
    let memory = sample(&kernel, &target(), starts.clone(), &config).unwrap().draws;
    let folder = DrawFolder::create(root.path().join("vectors"), 2).unwrap();
    sample_into(&kernel, &target(), starts, &config, |i| folder.sink(i)).unwrap();
    for (c, chain) in memory.array().outer_iter().enumerate() {
        assert_eq!(read(&folder, c), chain.iter().copied().collect::<Vec<_>>());
    }

    let blocks = Block::from_rows(2, &rows(70)).unwrap();
    let memory = sample(&kernel, &target(), blocks.clone(), &config).unwrap().draws;
    let folder = DrawFolder::create(root.path().join("blocks"), 2).unwrap();
    sample_into(&kernel, &target(), blocks, &config, |i| folder.sink(64 * i)).unwrap();
    for (c, chain) in memory.array().outer_iter().enumerate() {
        assert_eq!(read(&folder, c), chain.iter().copied().collect::<Vec<_>>());
    }
}

/// A sampler that is saved, killed later, and restored by another process leaves the same files as one that is not.
#[test]
fn a_killed_run_goes_on_in_its_files() {
    let root = tempfile::tempdir().unwrap();
    let config =
        SampleConfig { n_draws: 60, burn_in: 40, target_accept: Some(0.8), ..SampleConfig::default() };
    let (kernel, target) = (Nuts::new(0.4), target());
    let starts = || -> Vec<Vec<f64>> { rows(3).chunks(2).map(<[f64]>::to_vec).collect() };
    let whole = DrawFolder::create(root.path().join("whole"), 2).unwrap();
    let run = sample_into(&kernel, &target, starts(), &config, |i| whole.sink(i)).unwrap();

    for cut in [20, 40, 77] {
        let path = root.path().join(cut.to_string());
        let saved = root.path().join("sampler");
        let folder = DrawFolder::create(&path, 2).unwrap();
        let mut first = Sampler::into_sinks(&kernel, &target, starts(), &config, |i| folder.sink(i)).unwrap();
        first.run_to(cut);
        first.save(&saved).unwrap();
        // Goes on for a while before it is killed.
        first.run_to(90);
        drop(first);
        let folder = DrawFolder::resume(&path, 2).unwrap();
        let mut second =
            Sampler::into_sinks(&kernel, &target, starts(), &config, |i| folder.sink(i)).unwrap();
        second.restore(&saved).unwrap();
        second.run();
        assert_eq!(second.finish().unwrap().summary.to_string(), run.summary.to_string());
        let files: Vec<_> =
            std::fs::read_dir(whole.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        // Positions and seven statistics of three chains.
        assert_eq!(files.len(), 24);
        for file in files {
            let [expected, found] = [whole.path(), &path].map(|f| std::fs::read(f.join(&file)).unwrap());
            assert!(expected == found, "{} cut at {cut}", file.display());
        }
    }
}

/// A run that fails keeps the draws from before.
#[test]
fn an_error_does_not_lose_draws() {
    struct Fails(NpySink, usize);
    impl DrawSink for Fails {
        fn write(&mut self, draw: &[f64]) -> Result<()> {
            self.1 += 1;
            if self.1 > 7 { Err(ebm_core::Error::user("no more")) } else { self.0.write(draw) }
        }
    }
    let root = tempfile::tempdir().unwrap();
    let folder = DrawFolder::create(root.path(), 2).unwrap();
    let config = SampleConfig { n_draws: 50, burn_in: 0, ..SampleConfig::default() };
    let run =
        sample_into(&Hmc::new(0.4, 3), &target(), vec![vec![0.0; 2]], &config, |i| Fails(folder.sink(i), 0));
    // A sink that fails ends its chain.
    assert!(run.is_err() || !run.unwrap().summary.warnings.is_empty());
    assert_eq!(std::fs::read(root.path().join("chain-0.x.npy")).unwrap().len(), 128 + 7 * 16);
}

/// A run's draws and statistics, as they are.
#[cfg(feature = "npz")]
#[test]
fn a_run_is_packed_in_one_call() {
    use ebm_samplers::{DrawArrays, DrawInfo, Packing};
    let root = tempfile::tempdir().unwrap();
    let config = SampleConfig { n_draws: 30, burn_in: 10, ..SampleConfig::default() };
    let run = sample(&Nuts::new(0.4), &target(), vec![vec![0.0; 2]; 2], &config).unwrap();
    let arrays = DrawArrays::from(run.draws.clone());
    arrays.write_npz(root.path(), &DrawInfo::default(), &Packing::default()).unwrap();
    let (found, info) = DrawArrays::read_npz(root.path()).unwrap();
    assert_eq!(found.positions(), run.draws.array());
    assert_eq!(found.statistic_names().count(), 7);
    for (name, values) in run.draws.statistics() {
        assert_eq!(found.get(name), Some(values), "{name}");
    }
    assert_eq!(info.coordinates, ["0", "1"]);
}

#[cfg(feature = "plots")]
#[test]
fn draws_are_plotted_in_one_call() {
    use ndarray::{Array2, Array3};
    let root = tempfile::tempdir().unwrap();
    let draws = Array3::from_shape_fn((2, 30, 2), |(c, t, d)| ((c + 5 * t + d) as f64).sin());
    let arrays = ebm_samplers::DrawArrays::new(draws).name("theta").unwrap();
    assert_eq!(arrays.save_plots(root.path()).unwrap().len(), 3);
    let energy = Array2::from_shape_fn((2, 30), |(c, t)| ((c + t) as f64).cos());
    let arrays = arrays.statistic("energy", energy).unwrap();
    let arrays = arrays.statistic("diverging", Array2::ones((2, 30))).unwrap();
    assert_eq!(arrays.save_plots(root.path()).unwrap().len(), 4);
    let pair = std::fs::read_to_string(root.path().join("pair.svg")).unwrap();
    assert!(pair.contains("theta[1]") && pair.contains("divergences (60 of 60)"));
}

#[cfg(any(feature = "npz", feature = "arrow"))]
mod packed {
    use std::path::Path;

    use ebm_samplers::{DrawArrays, DrawInfo};
    use ndarray::{Array2, Array3};

    use super::*;

    const NAMES: [&str; 3] = ["lp", "diverging", "n_steps"];

    /// Three chains of 5,000 draws with statistics, in memory.
    fn arrays() -> DrawArrays {
        let shape = (3, 5000);
        DrawArrays::new(Array3::from_shape_fn((3, 5000, 2), |(c, t, d)| {
            (c * 10_000 + t) as f64 + 0.5 * d as f64
        }))
        .statistic("lp", Array2::from_shape_fn(shape, |(c, t)| -((c + t) as f64).sqrt()))
        .unwrap()
        .statistic("diverging", Array2::from_shape_fn(shape, |(c, t)| f64::from(u8::from((t + c) % 7 == 0))))
        .unwrap()
        .statistic("n_steps", Array2::from_shape_fn(shape, |(c, t)| (t % 31 + c) as f64))
        .unwrap()
    }

    /// The same, written by sinks: one with chain 0, one with the others; the last one `short` draws short.
    fn stream(folder: &DrawFolder, short: usize) {
        let arrays = arrays();
        for chains in [0..1, 1..3] {
            let mut sink = folder.sink(chains.start);
            for t in 0..5000 - if chains.end == 3 { short } else { 0 } {
                let draw: Vec<f64> = chains
                    .clone()
                    .flat_map(|c| [arrays.positions()[[c, t, 0]], arrays.positions()[[c, t, 1]]])
                    .collect();
                sink.write(&draw).unwrap();
                let statistics: Vec<f64> = NAMES
                    .iter()
                    .flat_map(|name| chains.clone().map(move |c| (name, c)))
                    .map(|(name, c)| arrays.get(name).unwrap()[[c, t]])
                    .collect();
                sink.write_statistics(&NAMES, &statistics).unwrap();
            }
            sink.flush().unwrap();
        }
    }

    fn info() -> DrawInfo {
        DrawInfo {
            seeds: vec![u64::MAX, 1],
            kernel: "Hmc".into(),
            settings: "step_size 0.4 \"quoted\"".into(),
            coordinates: vec!["mu".into(), "tau".into()],
        }
    }

    fn growing_files(folder: &Path) -> usize {
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap()));
        entries.filter(|name| name.starts_with("chain-")).count()
    }

    #[cfg(feature = "npz")]
    mod npz {
        use std::fs;

        use ebm_samplers::{Packing, pack_npz};

        use super::*;

        /// Our writer against another's reader, and memory against files.
        #[test]
        fn an_npz_holds_the_draws() {
            let root = tempfile::tempdir().unwrap();
            let (streamed, direct) = (root.path().join("streamed"), root.path().join("direct"));
            let folder = DrawFolder::create(&streamed, 2).unwrap();
            stream(&folder, 0);
            let path = pack_npz(&streamed, &info(), &Packing::default()).unwrap();
            assert_eq!(path, streamed.join("draws.npz"));
            let (found, found_info) = DrawArrays::read_npz(&streamed).unwrap();
            assert_eq!(found_info, info());
            // The folder lists its files by name.
            let same = arrays();
            assert_eq!(found.positions(), same.positions());
            for name in NAMES {
                assert_eq!(found.get(name), same.get(name), "{name}");
            }
            assert_eq!(found.statistic_names().count(), NAMES.len());
            found.write_npz(&direct, &info(), &Packing::default()).unwrap();
            for file in ["draws.npz", "draws.json"] {
                assert_eq!(fs::read(streamed.join(file)).unwrap(), fs::read(direct.join(file)).unwrap());
            }

            let packing = Packing { deflate: true, overwrite: true, ..Packing::default() };
            let stored = fs::metadata(&path).unwrap().len();
            pack_npz(&streamed, &info(), &packing).unwrap();
            assert!(fs::metadata(&path).unwrap().len() < stored);
            assert_eq!(DrawArrays::read_npz(&streamed).unwrap().0, found);
        }

        /// What stands in the archive has NumPy's types.
        #[test]
        fn counts_and_flags_have_their_types() {
            let root = tempfile::tempdir().unwrap();
            arrays().write_npz(root.path(), &info(), &Packing::default()).unwrap();
            let file = fs::File::open(root.path().join("draws.npz")).unwrap();
            let mut reader = ndarray_npy::NpzReader::new(file).unwrap();
            let flags: Array2<bool> = reader.by_name("diverging").unwrap();
            let counts: Array2<i64> = reader.by_name("n_steps").unwrap();
            assert!(flags[[1, 6]] && !flags[[1, 7]]);
            assert_eq!(counts[[2, 30]], 32);
            let json = fs::read_to_string(root.path().join("draws.json")).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["posterior"]["x"]["shape"], serde_json::json!([3, 5000, 2]));
            assert_eq!(json["sample_stats"]["diverging"]["dtype"], "|b1");
            assert_eq!(json["seeds"][0], u64::MAX);
        }

        #[test]
        fn nothing_is_lost() {
            let root = tempfile::tempdir().unwrap();
            let folder = DrawFolder::create(root.path(), 2).unwrap();
            let text = pack_npz(root.path(), &info(), &Packing::default()).unwrap_err().to_string();
            assert!(text.contains("no growing draws"), "{text}");
            stream(&folder, 100);
            let text = pack_npz(root.path(), &info(), &Packing::default()).unwrap_err().to_string();
            assert!(text.contains("4900 draws") && text.contains("shortest"), "{text}");
            let short = Packing { shortest: true, ..Packing::default() };
            pack_npz(root.path(), &info(), &short).unwrap();
            assert_eq!(DrawArrays::read_npz(root.path()).unwrap().0.positions().dim(), (3, 4900, 2));

            let text = pack_npz(root.path(), &info(), &short).unwrap_err().to_string();
            assert!(text.contains("overwrite"), "{text}");
            let wrong = DrawInfo { coordinates: vec!["one".into()], ..info() };
            let short = Packing { overwrite: true, remove_growing: true, ..short };
            assert!(pack_npz(root.path(), &wrong, &short).is_err());
            let hidden = root.path().join("hidden");
            fs::rename(root.path().join("chain-1.lp.npy"), &hidden).unwrap();
            let text = pack_npz(root.path(), &info(), &short).unwrap_err().to_string();
            assert!(text.contains("chain 1 has no lp"), "{text}");
            assert_eq!(growing_files(root.path()), 11);
            fs::rename(&hidden, root.path().join("chain-1.lp.npy")).unwrap();
            pack_npz(root.path(), &info(), &short).unwrap();
            assert_eq!(growing_files(root.path()), 0);
            assert!(DrawFolder::create(root.path(), 2).is_err());
            assert!(fs::read_dir(root.path()).unwrap().count() == 2);
        }
    }

    #[cfg(feature = "arrow")]
    mod arrow {
        use arrow_array::cast::AsArray;
        use arrow_array::types::{Float64Type, Int64Type};
        use arrow_ipc::reader::FileReader;
        use ebm_samplers::{Packing, pack_arrow};

        use super::*;

        #[test]
        fn an_arrow_file_holds_the_draws() {
            let root = tempfile::tempdir().unwrap();
            let folder = DrawFolder::create(root.path(), 2).unwrap();
            stream(&folder, 0);
            let packing = Packing { batch_draws: 700, remove_growing: true, ..Packing::default() };
            let path = pack_arrow(root.path(), &info(), &packing).unwrap();
            assert_eq!(growing_files(root.path()), 0);
            let reader = FileReader::try_new(std::fs::File::open(path).unwrap(), None).unwrap();
            let written: DrawInfo = serde_json::from_str(&reader.schema().metadata()["ebm"]).unwrap();
            assert_eq!(written, info());
            let expected = arrays();
            let mut seen = 0;
            for batch in reader {
                let batch = batch.unwrap();
                assert!(batch.num_rows() <= 700);
                let column = |name: &str| batch.column_by_name(name).unwrap();
                let chain = column("chain").as_primitive::<Int64Type>();
                let draw = column("draw").as_primitive::<Int64Type>();
                let x = column("x").as_fixed_size_list();
                for row in 0..batch.num_rows() {
                    let (c, t) = (chain.value(row) as usize, draw.value(row) as usize);
                    assert_eq!(5000 * c + t, seen);
                    seen += 1;
                    let of_row = x.value(row);
                    assert_eq!(
                        of_row.as_primitive::<Float64Type>().values().as_ref(),
                        [expected.positions()[[c, t, 0]], expected.positions()[[c, t, 1]]]
                    );
                    let at = |name: &str| expected.get(name).unwrap()[[c, t]];
                    assert_eq!(column("lp").as_primitive::<Float64Type>().value(row), at("lp"));
                    assert_eq!(
                        column("n_steps").as_primitive::<Int64Type>().value(row) as f64,
                        at("n_steps")
                    );
                    assert_eq!(column("diverging").as_boolean().value(row), at("diverging") == 1.0);
                }
            }
            assert_eq!(seen, 15_000);
        }

        #[test]
        fn settings_that_cannot_be_are_refused() {
            let root = tempfile::tempdir().unwrap();
            let packing = Packing { batch_draws: 0, ..Packing::default() };
            assert!(arrays().write_arrow(root.path(), &info(), &packing).is_err());
            arrays().write_arrow(root.path(), &info(), &Packing::default()).unwrap();
            assert!(arrays().write_arrow(root.path(), &info(), &Packing::default()).is_err());
            let clash = DrawArrays::new(Array3::zeros((1, 2, 1))).name("chain").unwrap();
            let folder = root.path().join("clash");
            assert!(clash.write_arrow(folder, &DrawInfo::default(), &Packing::default()).is_err());
        }
    }
}
