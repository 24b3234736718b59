//! The settings as a preset's TOML holds them: defaults fill in, unknown keys and names are refused.

use ebm_datasets::toys::{AnyToy, Moons, Spirals};
use ebm_datasets::{Augment, BatchConfig};

#[test]
fn toys_are_chosen_by_name() {
    let read = |text: &str| toml::from_str::<AnyToy>(text);
    assert_eq!(read("name = 'moons'").unwrap(), AnyToy::Moons(Moons::default()));
    let spirals = Spirals { arms: 3, noise: 0.0, ..Spirals::default() };
    assert_eq!(read("name = 'spirals'\narms = 3\nnoise = 0").unwrap(), AnyToy::Spirals(spirals));
    assert!(read("name = 'moons'\nnoize = 0.1").unwrap_err().to_string().contains("noize"));
    assert!(read("name = 'suns'").unwrap_err().to_string().contains("eight_gaussians"));
    for name in AnyToy::NAMES {
        let toy = AnyToy::by_name(name).unwrap();
        assert_eq!(read(&toml::to_string(&toy).unwrap()).unwrap(), toy);
        assert_eq!(read(&format!("name = '{name}'")).unwrap(), toy);
    }
}

#[test]
fn batch_settings_round_trip() {
    let read = |text: &str| toml::from_str::<BatchConfig>(text);
    assert_eq!(read("").unwrap(), BatchConfig::default());
    let config = read("batch_size = 32\n[augment]\nnoise_sd = 0.03\ndequantise_levels = 17").unwrap();
    let augment = Augment { noise_sd: 0.03, dequantise_levels: Some(17), ..Augment::default() };
    assert_eq!(config, BatchConfig { batch_size: 32, augment, ..BatchConfig::default() });
    assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
    assert!(read("batchsize = 3").is_err() && read("[augment]\nfilp = true").is_err());
    assert!(read("batch_size = -1").is_err());
}
