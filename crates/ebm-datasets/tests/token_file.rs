//! Token files: what is written is read, and every kind of malformed file is an error with file and place.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use ebm_core::ErrorKind;
use ebm_datasets::text::token_file::parse_tokens;
use ebm_datasets::text::{Corpus, TokenFile};
use proptest::prelude::*;

fn written(documents: &[Vec<u32>], vocabulary: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tokens");
    Corpus::new("a", documents, vocabulary).unwrap().save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn small() -> Vec<u8> {
    written(&[vec![1, 2, 3], vec![], vec![0x0102, 7]], 300)
}

/// The place and text of the error; it must name the file.
fn error(bytes: &[u8]) -> (u64, String) {
    let error = parse_tokens(bytes, "some-file").unwrap_err();
    match error.kind() {
        ErrorKind::Data { path, offset: Some(offset), problem } if path == Path::new("some-file") => {
            (*offset, problem.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bytes_are_as_documented() {
    let bytes = small();
    assert_eq!(&bytes[..8], b"EBMTOKEN");
    assert_eq!(bytes[8..16], [1, 0, 0, 0, 2, 0, 0, 0]);
    let words: Vec<u64> =
        bytes[16..].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let tokens = [0x0102_0003_0002_0001, 7];
    assert_eq!(words, [[300, 3, 5].as_slice(), &tokens, &[0, 3, 3, 5]].concat());
    // Four bytes a token above 65,536.
    assert_eq!(written(&[vec![65_536]], 65_537)[40..48], [0, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(written(&[vec![65_535]], 65_536)[40..48], [0xff, 0xff, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn malformed_files_name_the_place() {
    let with = |at: usize, value: u8| {
        let mut bytes = small();
        bytes[at] = value;
        bytes
    };
    assert_eq!(error(b"").0, 0);
    assert!(error(b"GIF89a").1.contains("starts with \"GIF89a\""));
    assert_eq!(error(&small()[..20]), (20, "truncated in the header of 40 bytes".into()));
    assert_eq!(error(&with(8, 2)), (8, "version 2, expected 1".into()));
    assert!(error(&with(12, 4)).1.contains("tokens of 4 bytes, expected 2"));
    assert!(error(&with(23, 1)).1.contains("a vocabulary of"));
    assert!(error(&small()[..80]).1.starts_with("truncated: the header says 3 documents and 5 tokens"));
    assert!(error(&[small(), vec![0]].concat()).1.starts_with("too long"));
    assert!(error(&with(31, 0xff)).1.contains("more than 2^64"));
    assert_eq!(error(&with(64, 4)), (72, "offset 2 is 3: they must rise from 0 to 5".into()));
    assert_eq!(parse_tokens(&with(43, 1), "a").unwrap()[0], [1, 258, 3]);
    assert_eq!(error(&with(43, 2)), (42, "token 1 is 514, outside the vocabulary of 300".into()));
}

#[test]
fn files_are_read_through_the_map_and_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.tokens");
    assert!(TokenFile::open(&path).unwrap_err().to_string().contains("b.tokens"));
    std::fs::write(&path, "").unwrap();
    assert!(TokenFile::open(&path).unwrap_err().to_string().contains("not a token file"));
    assert!(TokenFile::write(&path, 0, |_| Ok(())).is_err());
    let refused = TokenFile::write(&path, 4, |writer| {
        writer.push(&[1])?;
        writer.push(&[2, 4])
    });
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("token at position 1 of document 1") && text.contains("must be below 4"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), b"", "a failed write leaves the file as it was");

    std::fs::write(&path, small()).unwrap();
    let file = TokenFile::open(&path).unwrap();
    assert_eq!((file.vocabulary(), file.n_documents(), file.n_tokens()), (300, 3, 5));
    assert_eq!((file.document(2), file.document(3)), (Some(3..5), None));
    let mut out = [0; 2];
    file.read(3, &mut out).unwrap();
    assert_eq!(out, [0x0102, 7]);
    assert!(file.read(4, &mut out).is_err() && file.read(usize::MAX, &mut out).is_err());
}

fn documents() -> impl Strategy<Value = (Vec<Vec<u32>>, usize)> {
    prop_oneof![1usize..300, 65_530usize..65_545, Just(1 << 32)].prop_flat_map(|vocabulary| {
        let token = 0..=u32::try_from(vocabulary - 1).unwrap();
        (prop::collection::vec(prop::collection::vec(token, 0..9), 0..9), Just(vocabulary))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read((documents, vocabulary) in documents()) {
        prop_assert_eq!(parse_tokens(&written(&documents, vocabulary), "a").unwrap(), documents);
    }

    #[test]
    fn a_cut_file_is_an_error((documents, vocabulary) in documents(), at in any::<prop::sample::Index>()) {
        let bytes = written(&documents, vocabulary);
        prop_assert!(parse_tokens(&bytes[..at.index(bytes.len())], "cut").is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let bytes = if magic { [b"EBMTOKEN\x01\0\0\0".to_vec(), bytes].concat() } else { bytes };
        let _ = parse_tokens(&bytes, "arbitrary");
    }

    #[test]
    fn a_changed_byte_never_panics((documents, vocabulary) in documents(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = written(&documents, vocabulary);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = parse_tokens(&bytes, "changed");
    }
}
