//! `--device cpu|cuda:0`.

use tch::{Cuda, Device};

use crate::usage::Usage;

/// The device of that name, when this LibTorch has it.
///
/// # Errors
/// Another word, or a CUDA device that is not there.
pub fn parse(text: &str) -> Result<Device, Usage> {
    let index = match text {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        _ => text.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok()),
    };
    let Some(index) = index else {
        return Err(Usage(format!("--device {text}: must be cpu or cuda:<number>, for instance cuda:0")));
    };
    if !Cuda::is_available() {
        return Err(Usage(format!(
            "--device {text}: this LibTorch sees no CUDA device; use --device cpu, or on a machine with a GPU \
             `cargo xtask setup --cuda` first"
        )));
    }
    let n = Cuda::device_count();
    if index as i64 >= n {
        return Err(Usage(format!("--device {text}: there are {n} CUDA devices, cuda:0 to cuda:{}", n - 1)));
    }
    Ok(Device::Cuda(index))
}

/// As it stands in `report.json`.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_and_missing_ones_refused() {
        assert_eq!(name(parse("cpu").unwrap()), "cpu");
        assert!(parse("gpu").unwrap_err().to_string().contains("cuda:0"));
        assert!(parse("cuda:x").is_err());
        if !Cuda::is_available() {
            assert!(parse("cuda:0").unwrap_err().to_string().contains("no CUDA device"));
        }
    }
}
