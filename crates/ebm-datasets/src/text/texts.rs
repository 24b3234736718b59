//! Named documents of UTF-8 text, and how they are divided into training, validation and test parts.

use std::path::{Path, PathBuf};

use ebm_core::{Error, Result};

/// Documents of text under one name. There is at least one, and none is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    name: String,
    documents: Vec<String>,
}

/// Something in three disjoint parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<T> {
    /// For fitting parameters.
    pub train: T,
    /// For choosing settings.
    pub validation: T,
    /// For the reported figures.
    pub test: T,
}

impl Texts {
    /// These documents.
    ///
    /// # Errors
    /// When there is none, or one is empty.
    pub fn new(name: impl Into<String>, documents: Vec<String>) -> Result<Self> {
        let name = name.into();
        if documents.is_empty() {
            return Err(Error::bad_value(format!("documents of {name}"), 0, "at least 1", ""));
        }
        if let Some(empty) = documents.iter().position(String::is_empty) {
            let what = format!("document {empty} of {name}");
            return Err(Error::bad_value(what, "empty", "at least one character", "leave it out"));
        }
        Ok(Self { name, documents })
    }

    /// The name, for reports and errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The documents, in order.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// The bytes of all documents together.
    pub fn n_bytes(&self) -> usize {
        self.documents.iter().map(String::len).sum()
    }

    /// Every tenth document for testing, the one after it for validation, the rest for training.
    ///
    /// Counted from one: the tests are documents 10, 20, 30, ..., validation is 11, 21, 31, ...
    ///
    /// # Errors
    /// With fewer than eleven documents: a part would be empty.
    pub fn split_documents(self) -> Result<Parts<Self>> {
        if self.documents.len() < 11 {
            return Err(Error::bad_value(
                format!("documents of {}", self.name),
                self.documents.len(),
                "at least 11, for every tenth is for testing and the one after it for validation",
                "give one file to have it cut 80/10/10, or more files",
            ));
        }
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        for (number, document) in (1usize..).zip(self.documents) {
            match number % 10 {
                0 => test.push(document),
                1 if number > 1 => validation.push(document),
                _ => train.push(document),
            }
        }
        Parts::named(&self.name, train, validation, test)
    }

    /// One document cut into contiguous parts: the first 80 % of its bytes, the next 10 % and the rest (to the next
    /// whole character).
    ///
    /// # Errors
    /// With more than one document, or one so short that a part would be empty.
    pub fn split_contiguous(self) -> Result<Parts<Self>> {
        let [text] = self.documents.as_slice() else {
            let what = format!("documents of {}", self.name);
            return Err(Error::bad_value(what, self.documents.len(), "1", "use `split_documents`"));
        };
        let cut = |tenths: usize| {
            let mut at = text.len() / 10 * tenths + text.len() % 10 * tenths / 10;
            while !text.is_char_boundary(at) {
                at += 1;
            }
            at
        };
        let (first, second) = (cut(8), cut(9));
        let parts = [&text[..first], &text[first..second], &text[second..]];
        if parts.iter().any(|part| part.is_empty()) {
            let what = format!("bytes of {}", self.name);
            return Err(Error::bad_value(what, text.len(), "enough for three parts", "give a longer text"));
        }
        let [train, validation, test] = parts.map(|part| vec![part.to_owned()]);
        Parts::named(&self.name, train, validation, test)
    }
}

impl Parts<Texts> {
    fn named(name: &str, train: Vec<String>, validation: Vec<String>, test: Vec<String>) -> Result<Self> {
        Ok(Self {
            train: Texts::new(format!("{name} train"), train)?,
            validation: Texts::new(format!("{name} validation"), validation)?,
            test: Texts::new(format!("{name} test"), test)?,
        })
    }
}

impl<T> Parts<T> {
    /// The three parts through `f`, in the order training, validation, test.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U>(self, mut f: impl FnMut(T) -> Result<U>) -> Result<Parts<U>> {
        Ok(Parts { train: f(self.train)?, validation: f(self.validation)?, test: f(self.test)? })
    }
}

/// Any text of the user's, in three parts: a file is cut 80/10/10, a folder's `.txt` files are divided by tens.
///
/// Files of a folder come in the order of their names; see [`Texts::split_contiguous`] and
/// [`Texts::split_documents`].
///
/// # Errors
/// When `path` cannot be read, holds no text or too little, or is not UTF-8 (with the place of the first bad byte).
pub fn texts_at(path: &Path) -> Result<Parts<Texts>> {
    let name = path.file_name().map_or_else(|| "text".to_owned(), |n| n.to_string_lossy().into_owned());
    if path.is_dir() {
        read_all(name, &files_of(path, "txt")?)?.split_documents()
    } else {
        Texts::new(name, vec![read_text(path)?])?.split_contiguous()
    }
}

/// A UTF-8 file of at least one byte.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    if bytes.is_empty() {
        return Err(Error::data(path, None, "empty: expected UTF-8 text"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let problem = format!(
            "not UTF-8: byte 0x{:02x} begins no character; convert the file, for instance with `iconv -t UTF-8`",
            error.as_bytes()[at]
        );
        Error::data(path, Some(at as u64), problem)
    })
}

/// One document a file.
pub(super) fn read_all(name: impl Into<String>, paths: &[PathBuf]) -> Result<Texts> {
    Texts::new(name, paths.iter().map(|path| read_text(path)).collect::<Result<_>>()?)
}

/// The folder's own files with this extension, by name.
pub(super) fn files_of(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(Error::data(folder, None, format!("no .{extension} file in this folder")));
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: usize) -> Texts {
        Texts::new("n", (1..=n).map(|i| i.to_string()).collect()).unwrap()
    }

    #[test]
    fn every_tenth_document_tests_and_the_next_validates() {
        let parts = numbered(31).split_documents().unwrap();
        assert_eq!(parts.test.documents(), ["10", "20", "30"]);
        assert_eq!(parts.validation.documents(), ["11", "21", "31"]);
        assert_eq!((parts.train.documents().len(), parts.train.name()), (25, "n train"));
        assert!(parts.train.documents().contains(&"1".to_owned()));
        assert!(numbered(10).split_documents().unwrap_err().to_string().contains("at least 11"));
    }

    #[test]
    fn one_document_is_cut_at_whole_characters() {
        let text = "äöü".repeat(7);
        let parts = Texts::new("t", vec![text.clone()]).unwrap().split_contiguous().unwrap();
        let [train, validation, test] =
            [parts.train, parts.validation, parts.test].map(|p| p.documents.concat());
        assert_eq!((train.len(), validation.len(), test.len()), (34, 4, 4)); // 42 bytes: 33.6 and 37.8, rounded up
        assert_eq!(train + &validation + &test, text);
        assert!(Texts::new("t", vec!["ab".into()]).unwrap().split_contiguous().is_err());
        assert!(numbered(2).split_contiguous().unwrap_err().to_string().contains("split_documents"));
    }

    #[test]
    fn files_and_folders_of_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.md");
        let error = |path: &Path| texts_at(path).unwrap_err().to_string();
        assert!(error(&path).contains("mine.md"));
        std::fs::write(&path, "").unwrap();
        assert!(error(&path).contains("empty"));
        std::fs::write(&path, b"abc\xff\xfe").unwrap();
        assert!(error(&path).contains("at byte 3: not UTF-8: byte 0xff"), "{}", error(&path));
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(texts_at(&path).unwrap().train.documents(), ["01234567"]);

        assert!(error(dir.path()).contains("no .txt file"));
        for i in 0..12 {
            std::fs::write(dir.path().join(format!("{i:02}.txt")), i.to_string()).unwrap();
        }
        let parts = texts_at(dir.path()).unwrap();
        assert_eq!(
            (parts.test.documents(), parts.validation.documents()),
            (&["9".to_owned()][..], &["10".to_owned()][..])
        );
        std::fs::write(dir.path().join("03.txt"), b"\xc3").unwrap();
        assert!(error(dir.path()).contains("03.txt at byte 0"));
        assert!(Texts::new("t", vec![]).is_err() && Texts::new("t", vec![String::new()]).is_err());
    }
}
