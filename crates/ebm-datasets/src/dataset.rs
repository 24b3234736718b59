//! The one container of this crate: items as the rows of a matrix, with labels and the shape of an item.

use ebm_core::{Error, Result};
use ndarray::{Array2, Axis};

/// Items with, perhaps, labels. The contents are checked once, in [`Dataset::new`], and hold ever after.
///
/// ```
/// let digits = ebm_datasets::digits()?;
/// assert_eq!(digits.x().dim(), (1797, 64));
/// assert_eq!(digits.shape(), [1, 8, 8]);
/// let [train, test] = digits.split([1000, 797], 0)?;
/// assert_eq!((train.len(), test.len()), (1000, 797));
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    name: String,
    x: Array2<f32>,
    shape: Vec<usize>,
    labels: Option<Vec<i64>>,
    n_classes: usize,
}

impl Dataset {
    /// A data set without labels: `x` is `[items, features]`, `shape` the shape of one item.
    ///
    /// # Errors
    /// When the product of `shape` is not the number of features, or a value is not finite.
    pub fn new(name: impl Into<String>, x: Array2<f32>, shape: &[usize]) -> Result<Self> {
        let name = name.into();
        let n_features = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if n_features != Some(x.ncols()) {
            return Err(Error::shape(
                format!("shape of an item of {name}"),
                format!("{} features", x.ncols()),
                shape,
            ));
        }
        if let Some(((row, column), value)) = x.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::bad_value(
                format!("{name}[{row}, {column}]"),
                value,
                "a finite number",
                "remove or fill the item",
            ));
        }
        // Row-major memory, whatever came in, so that a row is a slice.
        let x = if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned() };
        Ok(Self { name, x, shape: shape.to_vec(), labels: None, n_classes: 0 })
    }

    /// The same items with one label in `0..n_classes` each.
    ///
    /// # Errors
    /// When there are not as many labels as items, or a label is out of range.
    pub fn with_labels(mut self, labels: Vec<i64>, n_classes: usize) -> Result<Self> {
        if labels.len() != self.len() {
            return Err(Error::shape(format!("labels of {}", self.name), self.len(), labels.len()));
        }
        if let Some((item, label)) =
            labels.iter().enumerate().find(|(_, l)| usize::try_from(**l).map_or(true, |l| l >= n_classes))
        {
            let limit = format!("in 0..{n_classes}");
            return Err(Error::bad_value(format!("label {item} of {}", self.name), label, limit, ""));
        }
        self.labels = Some(labels);
        self.n_classes = n_classes;
        Ok(self)
    }

    /// The name, for reports and errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The items, `[items, features]`, row-major.
    pub fn x(&self) -> &Array2<f32> {
        &self.x
    }

    /// The items' numbers, row after row: `len() * n_features()` of them.
    pub fn values(&self) -> &[f32] {
        self.x.as_slice().unwrap_or_default() // never the default: `new` makes it row-major
    }

    /// Item `index` as a slice; `None` past the end.
    pub fn item(&self, index: usize) -> Option<&[f32]> {
        let n = self.n_features();
        self.values().get(index.checked_mul(n)?..)?.get(..n)
    }

    /// The labels, one an item, in `0..n_classes()`.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// The number of classes; 0 without labels.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// The shape of one item: `[channels, height, width]` for images, `[features]` otherwise.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.x.nrows()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in an item: the product of [`Dataset::shape`].
    pub fn n_features(&self) -> usize {
        self.x.ncols()
    }

    /// How many items each class has; empty without labels.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.n_classes];
        for &label in self.labels.iter().flatten() {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The items `indices`, in that order (an index may come twice).
    ///
    /// # Errors
    /// When an index is past the end.
    pub fn take(&self, indices: &[usize]) -> Result<Self> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.len()) {
            let limit = format!("below {}, the number of items of {}", self.len(), self.name);
            return Err(Error::bad_value("index", index, limit, ""));
        }
        Ok(Self {
            name: self.name.clone(),
            x: self.x.select(Axis(0), indices),
            shape: self.shape.clone(),
            labels: self.labels.as_ref().map(|labels| indices.iter().map(|&i| labels[i]).collect()),
            n_classes: self.n_classes,
        })
    }

    /// The same items and labels under another name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same labels with other numbers, one row an item still.
    ///
    /// # Errors
    /// When the rows are not as many as the items, or as for [`Dataset::new`].
    pub fn with_x(&self, x: Array2<f32>, shape: &[usize]) -> Result<Self> {
        if x.nrows() != self.len() {
            return Err(Error::shape(format!("items of {}", self.name), self.len(), x.nrows()));
        }
        let mut new = Self::new(self.name.clone(), x, shape)?;
        new.labels = self.labels.clone();
        new.n_classes = self.n_classes;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn contents_are_checked() {
        let x = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let set = Dataset::new("a", x.clone(), &[1, 2]).unwrap().with_labels(vec![0, 1, 1], 2).unwrap();
        assert_eq!(set.class_counts(), [1, 2]);
        assert_eq!(set.item(1).unwrap(), [3.0, 4.0]);
        assert!(set.item(3).is_none() && set.item(usize::MAX).is_none());
        let part = set.take(&[2, 0]).unwrap();
        assert_eq!((part.values(), part.labels().unwrap()), (&[5.0, 6.0, 1.0, 2.0][..], &[1, 0][..]));

        assert!(set.take(&[3]).unwrap_err().to_string().contains("below 3"));
        assert!(Dataset::new("a", x.clone(), &[3]).is_err());
        assert!(Dataset::new("a", x.clone(), &[usize::MAX, 2]).is_err());
        assert!(set.clone().with_labels(vec![0, 1], 2).is_err());
        assert!(set.clone().with_labels(vec![0, 1, 2], 2).is_err());
        assert!(set.clone().with_labels(vec![0, -1, 1], 2).is_err());
        assert!(set.with_x(array![[0.0]], &[1]).is_err());
        let error = Dataset::new("a", array![[0.0, f32::NAN]], &[2]).unwrap_err();
        assert_eq!(error.to_string(), "a[0, 1] = NaN: must be a finite number; remove or fill the item");
    }

    #[test]
    fn rows_are_slices_whatever_the_layout_was() {
        let x = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes();
        assert_eq!(Dataset::new("t", x, &[2]).unwrap().values(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
