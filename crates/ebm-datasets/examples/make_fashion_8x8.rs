//! Makes the shipped 8x8 Fashion-MNIST files from the original ones, so that anyone can check them:
//! `cargo run -p ebm-datasets --example make_fashion_8x8 -- DATA_DIR OUT_DIR`, where `DATA_DIR/fashion-mnist/`
//! holds `t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz`.
//!
//! The images are the first 500 of `Stream::new(0, Purpose::Split, 0).permutation(10_000)`, pooled from 28 x 28 to
//! 8 x 8 by exact area weights and rounded to bytes.

use std::path::Path;

use ebm_core::{Error, Result};
use ebm_datasets::idx::Idx;
use ebm_datasets::{Part, fashion_mnist};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(data_dir), Some(out_dir)) = (arguments.next(), arguments.next()) else {
        return Err(Error::user("usage: make_fashion_8x8 DATA_DIR OUT_DIR"));
    };
    let [chosen] = fashion_mnist(Path::new(&data_dir), Part::Test)?.split([500], 0)?;
    let pooled = chosen.average_pool(8, 8)?;
    let pixels = pooled.values().iter().map(|v| (255.0 * v).round() as u8).collect();
    let labels = pooled.labels().unwrap_or_default().iter().map(|&label| label as u8).collect();
    write(&out_dir, "fashion-8x8-images-idx3-ubyte", Idx { dims: vec![500, 8, 8], data: pixels })?;
    write(&out_dir, "fashion-8x8-labels-idx1-ubyte", Idx { dims: vec![500], data: labels })
}

fn write(dir: &str, name: &str, idx: Idx) -> Result<()> {
    let path = Path::new(dir).join(name);
    std::fs::write(&path, idx.to_bytes()?).map_err(|e| Error::io(&path, e))
}
