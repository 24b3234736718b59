//! Balanced strings of four kinds of brackets to a limited depth: a stand-in for Dyck languages.

use ebm_core::random::Stream;
use ebm_core::{Error, Result};

use super::Texts;

/// The kinds, as (opening, closing).
pub const KINDS: [(u8, u8); 4] = [(b'(', b')'), (b'[', b']'), (b'{', b'}'), (b'<', b'>')];

/// The depth of [`brackets`].
pub const MAX_DEPTH: usize = 8;

/// `n_documents` balanced strings of `length` brackets each, of all [`KINDS`], at most [`MAX_DEPTH`] deep.
///
/// At each place the string opens or closes with probability 1/2, where both are possible: it must open at depth 0,
/// and close at the greatest depth and when just enough room is left to close all.
///
/// # Errors
/// When `length` is odd or 0, or `n_documents` is 0.
pub fn brackets(n_documents: usize, length: usize, stream: &mut Stream) -> Result<Texts> {
    if length == 0 || length % 2 == 1 {
        return Err(Error::bad_value("length", length, "even and above 0", "brackets come in pairs"));
    }
    Texts::new("brackets", (0..n_documents).map(|_| balanced(length, stream)).collect())
}

fn balanced(length: usize, stream: &mut Stream) -> String {
    let mut text = String::with_capacity(length);
    let mut open = Vec::with_capacity(MAX_DEPTH);
    for left in (1..=length).rev() {
        let must_close = open.len() == MAX_DEPTH || open.len() == left;
        match open.pop() {
            Some(closing) if must_close || stream.below(2) == 1 => text.push(char::from(closing)),
            outer => {
                let (opening, closing) = KINDS[stream.below(KINDS.len())];
                open.extend(outer);
                open.push(closing);
                text.push(char::from(opening));
            }
        }
    }
    text
}

/// Checks that `text` is a balanced string of brackets, and gives its greatest depth.
///
/// # Errors
/// With the place: another character than a bracket, a closing bracket of the wrong kind, one that was never opened,
/// or one that is still open at the end.
pub fn depth(text: &str) -> Result<usize> {
    let (mut open, mut deepest) = (Vec::new(), 0);
    for (at, byte) in text.bytes().enumerate() {
        if let Some((_, closing)) = KINDS.iter().find(|(opening, _)| *opening == byte) {
            open.push(*closing);
            deepest = deepest.max(open.len());
        } else if open.pop() != Some(byte) {
            return Err(unbalanced(
                at,
                format!("`{}` does not close the last open bracket", byte.escape_ascii()),
            ));
        }
    }
    match open.last() {
        None => Ok(deepest),
        Some(missing) => Err(unbalanced(text.len(), format!("`{}` is missing", char::from(*missing)))),
    }
}

fn unbalanced(at: usize, problem: String) -> Error {
    Error::data("brackets", Some(at as u64), problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;

    #[test]
    fn what_is_generated_is_balanced_and_deep_enough() {
        let mut stream = Stream::new(0, Purpose::Synthetic, 0);
        let texts = brackets(50, 512, &mut stream).unwrap();
        let mut deepest = 0;
        for document in texts.documents() {
            assert_eq!(document.len(), 512);
            let found = depth(document).unwrap();
            assert!(found <= MAX_DEPTH);
            deepest = deepest.max(found);
        }
        assert_eq!(deepest, MAX_DEPTH);
        for (opening, _) in KINDS {
            // A quarter of the 12,800 opening brackets, within five standard errors (49).
            let n = texts.documents().iter().flat_map(|d| d.bytes()).filter(|&b| b == opening).count();
            assert!(n.abs_diff(3200) < 245, "{n}");
        }
        assert_eq!(depth(&balanced(2, &mut stream)).unwrap(), 1);
        assert!(brackets(1, 3, &mut stream).is_err() && brackets(1, 0, &mut stream).is_err());
        assert!(brackets(0, 2, &mut stream).is_err());
    }

    #[test]
    fn the_checker_finds_every_fault() {
        assert_eq!(depth("").unwrap(), 0);
        assert_eq!(depth("([]{<>})").unwrap(), 3);
        let error = |text| depth(text).unwrap_err().to_string();
        assert_eq!(error("(]"), "brackets at byte 1: `]` does not close the last open bracket");
        assert!(error(")").contains("byte 0"));
        assert!(error("(a)").contains("byte 1") && error("(ä)").contains("byte 1"));
        assert!(error("[(").contains("byte 2: `)` is missing"));
    }
}
