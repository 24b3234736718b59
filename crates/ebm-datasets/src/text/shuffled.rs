//! Text with its words in random order: the same words, no grammar.

use ebm_core::Result;
use ebm_core::random::Stream;

use super::Texts;

/// Each document with its words (what stands between white space) in a random order, joined by single spaces.
///
/// # Errors
/// When a document holds no word.
pub fn shuffled_words(texts: &Texts, stream: &mut Stream) -> Result<Texts> {
    let documents = texts.documents().iter().map(|document| {
        let mut words: Vec<&str> = document.split_whitespace().collect();
        stream.shuffle(&mut words);
        words.join(" ")
    });
    Texts::new(format!("{}, words shuffled", texts.name()), documents.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebm_core::random::Purpose;

    #[test]
    fn each_document_keeps_its_words() {
        let words: Vec<String> = (0..50).map(|i| i.to_string()).collect();
        let texts = Texts::new("t", vec![words.join(" \n"), words.join("\t")]).unwrap();
        let shuffled = shuffled_words(&texts, &mut Stream::new(0, Purpose::Evaluation, 0)).unwrap();
        assert_eq!(shuffled, shuffled_words(&texts, &mut Stream::new(0, Purpose::Evaluation, 0)).unwrap());
        assert_ne!(shuffled.documents()[0], shuffled.documents()[1]);
        for document in shuffled.documents() {
            let mut found: Vec<usize> = document.split(' ').map(|word| word.parse().unwrap()).collect();
            assert_ne!(found, (0..50).collect::<Vec<_>>());
            found.sort_unstable();
            assert_eq!(found, (0..50).collect::<Vec<_>>());
        }
        let blank = Texts::new("blank", vec![" ".into()]).unwrap();
        assert!(shuffled_words(&blank, &mut Stream::new(0, Purpose::Evaluation, 0)).is_err());
    }
}
