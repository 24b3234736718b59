//! IDX files and the readers on top of them: every kind of malformed file is an error with file and offset.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use ebm_core::ErrorKind;
use ebm_datasets::idx::{Idx, parse_idx};
use ebm_datasets::{Part, fashion_mnist, images_from_idx, mnist};
use proptest::prelude::*;

fn images() -> Vec<u8> {
    let data = (0..12).collect();
    Idx { dims: vec![2, 2, 3], data }.to_bytes().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The offset and text of the error; it must name the file.
fn error(bytes: &[u8]) -> (u64, String) {
    let error = parse_idx(bytes, "some-file").unwrap_err();
    assert!(error.to_string().starts_with("some-file at byte "), "{error}");
    match error.kind() {
        ErrorKind::Data { offset: Some(offset), problem, .. } => (*offset, problem.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_and_gzipped_files_are_read() {
    let idx = parse_idx(&images(), "a").unwrap();
    assert_eq!(idx, Idx { dims: vec![2, 2, 3], data: (0..12).collect() });
    assert_eq!(parse_idx(&gzip(&images()), "a").unwrap(), idx);
    // The header as the format's description has it.
    assert_eq!(images()[..16], [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]);
}

#[test]
fn malformed_files_name_the_place() {
    let with = |at: usize, value: u8| {
        let mut bytes = images();
        bytes[at] = value;
        bytes
    };
    for pack in [|bytes: &[u8]| bytes.to_vec(), gzip] {
        assert_eq!(error(&pack(&[])).0, 0);
        assert_eq!(error(&pack(&images()[..3])).0, 0);
        assert_eq!(error(&pack(&images()[..9])).0, 8);
        assert_eq!(
            error(&pack(&images()[..20])),
            (20, "truncated: 4 bytes of data, the header says [2, 2, 3] = 12".into())
        );
        assert_eq!(
            error(&pack(&with(1, 7))),
            (0, "not an IDX file: starts with 00 07, expected 00 00".into())
        );
        assert_eq!(
            error(&pack(&with(2, 0x0d))),
            (2, "element type 0x0d, expected 0x08 (unsigned byte)".into())
        );
        assert_eq!(error(&pack(&with(3, 0))).0, 3);
        assert_eq!(error(&pack(&with(3, 5))), (3, "5 dimensions, expected 1 to 4".into()));
        let long = [images(), vec![0]].concat();
        assert_eq!(error(&pack(&long)), (28, "more data than the header says ([2, 2, 3] = 12 bytes)".into()));
    }
}

#[test]
fn absurd_headers_allocate_nothing() {
    let mut bytes = vec![0, 0, 8, 3];
    bytes.extend([0xff; 12]);
    assert!(error(&bytes).1.contains("more than 2^64 bytes"));
    // 2^62 bytes: no overflow, but far more than there is.
    let bytes = [&[0, 0, 8, 2, 0x80, 0, 0, 0, 0x80, 0, 0, 0][..], &[1, 2, 3]].concat();
    assert_eq!(error(&bytes).0, 15);
    assert_eq!(error(&gzip(&bytes)).0, 15);
}

#[test]
fn a_gzipped_bomb_stops_at_the_header() {
    let bomb = gzip(&[&[0, 0, 8, 1, 0, 0, 0, 4][..], &vec![0; 50_000_000]].concat());
    assert!(bomb.len() < 100_000);
    assert_eq!(error(&bomb), (12, "more data than the header says ([4] = 4 bytes)".into()));
}

#[test]
fn damaged_gzip_is_noticed() {
    let packed = gzip(&images());
    for end in 2..packed.len() {
        error(&packed[..end]);
    }
    for at in packed.len() - 8..packed.len() {
        let mut wrong = packed.clone();
        wrong[at] ^= 1; // checksum or length
        assert!(error(&wrong).1.contains("damaged"));
    }
    let (offset, problem) = error(&[packed.clone(), vec![1, 2]].concat());
    assert_eq!(offset, packed.len() as u64);
    assert!(problem.starts_with("2 bytes follow"));
}

/// A folder with `mnist/` and `fashion-mnist/`, test part only.
fn folder(images: &[u8], labels: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("mnist/t10k-images-idx3-ubyte", images);
    write("mnist/t10k-labels-idx1-ubyte", labels);
    write("fashion-mnist/t10k-images-idx3-ubyte.gz", &gzip(images));
    write("fashion-mnist/t10k-labels-idx1-ubyte.gz", &gzip(labels));
    dir
}

fn labels(data: &[u8]) -> Vec<u8> {
    Idx { dims: vec![data.len()], data: data.to_vec() }.to_bytes().unwrap()
}

fn message(images: &[u8], labels: &[u8]) -> String {
    mnist(folder(images, labels).path(), Part::Test).unwrap_err().to_string()
}

#[test]
fn the_readers_join_images_and_labels() {
    let dir = folder(&images(), &labels(&[9, 0]));
    let set = mnist(dir.path(), Part::Test).unwrap();
    assert_eq!((set.name(), set.shape(), set.n_classes()), ("mnist test", &[1, 2, 3][..], 10));
    assert_eq!(set.labels().unwrap(), [9, 0]);
    assert_eq!(set.values(), (0..12u8).map(|k| f32::from(k) / 255.0).collect::<Vec<_>>());
    assert_eq!(fashion_mnist(dir.path(), Part::Test).unwrap(), set.named("fashion-mnist test"));
}

#[test]
fn images_and_labels_that_do_not_fit_are_errors() {
    let text = message(&images(), &labels(&[1, 2, 3]));
    assert!(text.contains("t10k-labels-idx1-ubyte at byte 4: 3 labels for the 2 images of"), "{text}");
    let text = message(&images(), &labels(&[1, 10]));
    assert!(text.ends_with("t10k-labels-idx1-ubyte at byte 9: label 10, expected one in 0..10"), "{text}");
    let text = message(&labels(&[1, 2]), &labels(&[1, 2]));
    assert!(text.ends_with("t10k-images-idx3-ubyte at byte 3: 1 dimensions, expected 3 (images)"), "{text}");
    let text = message(&images(), &images());
    assert!(text.ends_with("t10k-labels-idx1-ubyte at byte 3: 3 dimensions, expected 1 (labels)"), "{text}");
    let flat = Idx { dims: vec![2, 0, 3], data: vec![] }.to_bytes().unwrap();
    assert!(message(&flat, &labels(&[1, 2])).contains("images of 0 x 3 pixels"));
    // No image, each of 2^64 - 2^33 + 1 pixels.
    let wide = [0, 0, 8, 3, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    assert!(message(&wide, &labels(&[])).contains("t10k-images-idx3-ubyte"));
}

#[test]
fn missing_data_name_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let text = fashion_mnist(dir.path(), Part::Train).unwrap_err().to_string();
    assert!(text.contains("cargo xtask data fetch fashion-mnist") && text.contains("train-images"), "{text}");
    let text = mnist(dir.path(), Part::Test).unwrap_err().to_string();
    assert!(text.contains("cargo xtask data fetch mnist") && text.contains("EBM_DATA"), "{text}");
    assert!(images_from_idx(&dir.path().join("none"), None).is_err());
    assert!(images_from_idx(dir.path(), None).is_err());
}

#[test]
fn a_users_own_images_need_no_labels() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.idx");
    std::fs::write(&path, images()).unwrap();
    let set = images_from_idx(&path, None).unwrap();
    assert_eq!((set.name(), set.len(), set.labels()), ("mine.idx", 2, None));
    assert!(
        images_from_idx(&path, Some((Path::new("none"), 3))).unwrap_err().to_string().starts_with("none")
    );
}

/// The real files: class counts and first items; says so and passes where they were not fetched.
#[test]
fn the_real_files_are_those_of_the_papers() {
    let dir = ebm_datasets::data_dir().unwrap();
    if !dir.join("fashion-mnist").is_dir() || !dir.join("mnist").is_dir() {
        println!("left out: needs cargo xtask data fetch fashion-mnist mnist");
        return;
    }
    for (part, each) in [(Part::Train, 6000), (Part::Test, 1000)] {
        let set = fashion_mnist(&dir, part).unwrap();
        assert_eq!((set.class_counts(), set.shape()), (vec![each; 10], &[1, 28, 28][..]));
    }
    let counts = mnist(&dir, Part::Train).unwrap().class_counts();
    assert_eq!(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(mnist(&dir, Part::Test).unwrap().len(), 10_000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_idx(&bytes, "arbitrary");
    }

    #[test]
    fn arbitrary_headers_never_panic(
        n_dims in 0u8..6,
        dims in prop::collection::vec(prop_oneof![0u32..4, any::<u32>()], 0..5),
        data in prop::collection::vec(any::<u8>(), 0..64),
        packed in any::<bool>(),
    ) {
        let mut bytes = vec![0, 0, 8, n_dims];
        bytes.extend(dims.iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend(data);
        let bytes = if packed { gzip(&bytes) } else { bytes };
        if let Ok(idx) = parse_idx(&bytes, "arbitrary") {
            prop_assert_eq!(idx.dims.iter().product::<usize>(), idx.data.len());
        }
    }

    #[test]
    fn what_is_written_is_read(dims in prop::collection::vec(0usize..6, 1..5), fill in any::<u8>()) {
        let n: usize = dims.iter().product();
        let idx = Idx { dims, data: (0..n).map(|i| fill.wrapping_add(i as u8)).collect() };
        let bytes = idx.to_bytes().unwrap();
        prop_assert_eq!(&parse_idx(&bytes, "plain").unwrap(), &idx);
        prop_assert_eq!(parse_idx(&gzip(&bytes), "packed").unwrap(), idx);
    }

    #[test]
    fn any_flipped_byte_of_a_packed_file_is_an_error_or_harmless(at in 0usize..60, bit in 0u8..8) {
        let original = parse_idx(&images(), "a").unwrap();
        let mut packed = gzip(&images());
        let at = at % packed.len();
        packed[at] ^= 1 << bit;
        if let Ok(idx) = parse_idx(&packed, "flipped") {
            prop_assert_eq!(idx, original);
        }
    }
}

#[test]
fn impossible_contents_cannot_be_written() {
    assert!(Idx { dims: vec![2, 2], data: vec![0; 3] }.to_bytes().is_err());
    assert!(Idx { dims: vec![], data: vec![0] }.to_bytes().is_err());
    assert!(Idx { dims: vec![1; 5], data: vec![0] }.to_bytes().is_err());
    assert!(Idx { dims: vec![usize::MAX, 2], data: vec![] }.to_bytes().is_err());
}
