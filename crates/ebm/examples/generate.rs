//! Text from an energy-based transformer over bytes, with the energy of every token.
//!
//! `cargo run --release -p ebm --example generate -- --weights runs/ebt-text-cpu-0/weights.safetensors --prompt "The people "`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ebm::models::ebt::weights::{config_of, load_released};
use ebm::models::ebt::{EbtText, EbtTextConfig, GenerateConfig, Generator, Variant, s1};
use ebm::models::nn::TransformerConfig;
use ebm::prelude::*;
use ebm::train::tensors;
use tch::Device;

/// Write after a prompt, and show the energy of each token
#[derive(Parser)]
struct Args {
    /// Weights of `ebt-text`, or a released checkpoint over bytes as safetensors [default: none, an untrained network]
    #[arg(long)]
    weights: Option<PathBuf>,
    /// What to go on from
    #[arg(long, default_value = "The people of the United States ")]
    prompt: String,
    /// Bytes to write
    #[arg(long, default_value_t = 200)]
    tokens: usize,
    /// Inner steps of each token [default: as many as the weights have landscapes, at least 2]
    #[arg(long)]
    steps: Option<usize>,
    /// Candidates of which the one of the lowest energy is taken
    #[arg(long, default_value_t = 1)]
    candidates: usize,
    /// 0 takes the likeliest byte, 1 draws from the prediction
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// Attention heads of the weights: no shape tells them
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// Context of the weights
    #[arg(long, default_value_t = 64)]
    context: usize,
    /// Seed of the starts and the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn network(args: &Args) -> Result<EbtText> {
    let mut params = Params::new(args.seed, Device::Cpu);
    let Some(path) = &args.weights else {
        eprintln!("no --weights: an untrained network writes noise");
        let transformer = TransformerConfig::new(1, 16, 2, args.context);
        let variant = Variant::TimeEmbedding(2);
        let config = EbtTextConfig { vocabulary: 256, variant, step_size: 100.0, transformer };
        return EbtText::new(&config, &mut params);
    };
    let weights = tensors::load(path)?;
    let config = config_of(&weights, args.heads, args.context)?;
    if config.vocabulary != 256 {
        let fix = "this example reads bytes; tokenise with ebm::datasets::text for other vocabularies";
        return Err(Error::bad_value("the weights' vocabulary", config.vocabulary, "256", fix));
    }
    let net = EbtText::new(&config, &mut params)?;
    load_released(&params, &weights)?;
    Ok(net)
}

fn main() -> ExitCode {
    match write(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn write(args: &Args) -> Result<()> {
    let net = network(args)?;
    let steps = args.steps.unwrap_or(net.config().n_landscapes().max(2));
    let config = GenerateConfig {
        n_tokens: args.tokens,
        descent: s1(steps).prediction(steps, false),
        temperature: args.temperature,
        n_candidates: args.candidates,
        seed: args.seed,
    };
    // No more of the prompt than the context holds: its end.
    let bytes: Vec<i64> = args.prompt.bytes().map(i64::from).collect();
    let seen = &bytes[bytes.len().saturating_sub(args.context)..];
    let mut generator = Generator::new(&net, seen, config)?;
    let tokens = generator.run()?;
    println!("{:>8} {:>10} {:>10} {:>8}", "byte", "energy", "fallen by", "nats");
    for token in &tokens {
        let byte = u8::try_from(token.id).unwrap_or(b'?');
        let shown = if byte == b' ' { "(space)".to_owned() } else { byte.escape_ascii().to_string() };
        let fall = token.first_energy - token.energy;
        println!("{shown:>8} {:>10.3} {fall:>10.3} {:>8.3}", token.energy, token.nats);
    }
    let written: Vec<u8> = tokens.iter().map(|t| u8::try_from(t.id).unwrap_or(b'?')).collect();
    println!("\n{}{}", args.prompt, String::from_utf8_lossy(&written));
    Ok(())
}
