//! The hand-derived passes against autograd on the same network.

use ebm_core::random::Purpose;
use ebm_core::torch::{Params, TensorRng};
use tch::{Device, Kind, Tensor};

use super::*;

fn random(rng: &mut TensorRng, size: &[i64]) -> Tensor {
    rng.normal(size, 1.0, Kind::Float, Device::Cpu).unwrap()
}

/// Largest difference over the largest value of the trusted tensor.
fn error(found: &Tensor, trusted: &Tensor) -> f64 {
    assert_eq!(found.size(), trusted.size());
    let trusted = trusted.detach().to_kind(Kind::Double);
    let scale = trusted.abs().max().double_value(&[]);
    (found.to_kind(Kind::Double) - trusted).abs().max().double_value(&[]) / scale
}

/// Sizes with odd rests of the vectors' and the blocks' lengths.
fn compare(config: &TransformerConfig, n: i64, s: i64, with_token: bool) {
    // The oracle runs in f64 on the same numbers.
    let mut params = Params::new(3, Device::Cpu);
    let net = EnergyTransformer::new(config, params.root().sub("t")).unwrap();
    let mut trusted_params = Params::new(3, Device::Cpu).with_kind(Kind::Double);
    let trusted = EnergyTransformer::new(config, trusted_params.root().sub("t")).unwrap();
    // Norm weights other than 1, so that their place in the formulas is seen.
    let mut rng = TensorRng::new(8, Purpose::User);
    for ((name, p), (_, q)) in params.named().iter().zip(trusted_params.named()) {
        tch::no_grad(|| {
            if name.contains("norm") {
                let noise = random(&mut rng, &p.size());
                let _ = p.shallow_clone().g_add_(&(noise * 0.3));
            }
            q.shallow_clone().copy_(p);
        });
    }
    let width = config.width as i64;
    let [x, e, v] = [0; 3].map(|_| random(&mut rng, &[n, s, width]));
    let token = with_token.then(|| random(&mut rng, &[width]));
    let double = |t: &Tensor| t.to_kind(Kind::Double);

    let leaf = |t: &Tensor| double(t).set_requires_grad(true);
    let (x2, e2, token2) = (leaf(&x), leaf(&e), token.as_ref().map(leaf));
    let seen = trusted.observe(&x2, token2.as_ref()).unwrap();
    let energy2 = trusted.energies(&e2, &seen).unwrap();
    let delta2 = Tensor::run_backward(&[&energy2.sum(Kind::Double)], &[&e2], true, true).remove(0);
    let inner = (&delta2 * double(&v)).sum(Kind::Double);
    let mut by = vec![x2, e2];
    by.extend(token2);
    by.extend(trusted_params.tensors());
    let second = Tensor::run_backward(&[&inner], &by, false, false);

    let fused = FusedTransformer::new(&net, config).unwrap();
    // Twice, so that reused memory is seen to change nothing.
    for _ in 0..2 {
        let mut observed = fused.observe(&x, token.as_ref()).unwrap();
        let (energy, delta, trace) = fused.slope(&observed, &e).unwrap();
        assert!(error(&energy, &energy2) < 1e-5 && error(&delta, &delta2) < 1e-5);
        let mut gradients = fused.gradients(n as usize);
        let de = fused.second(&mut observed, &trace, &v, &mut gradients).unwrap();
        assert!(error(&de, &second[1]) < 2e-5, "{}", error(&de, &second[1]));
        let (dx, dtoken) = fused.observe_back(&mut observed, &mut gradients).unwrap();
        assert!(error(&dx, &second[0]) < 2e-5, "{}", error(&dx, &second[0]));
        assert_eq!(dtoken.is_some(), with_token);
        if let Some(dtoken) = dtoken {
            assert!(error(&dtoken, &second[2]) < 2e-5);
        }
        let named = fused.named(gradients).unwrap();
        assert_eq!(named.len(), params.named().len());
        for ((name, _), trusted) in params.named().iter().zip(&second[second.len() - named.len()..]) {
            let (_, found) = named.iter().find(|(n, _)| format!("t.{n}") == *name).unwrap();
            let error = error(found, trusted);
            assert!(error < 3e-5, "{name}: {error}");
        }
        fused.reuse(trace);
        fused.reuse_observed(observed);
    }
}

#[test]
fn first_and_second_derivatives_are_those_of_autograd() {
    let config = |n_layers, width, n_heads, hidden, context| TransformerConfig {
        hidden,
        ..TransformerConfig::new(n_layers, width, n_heads, context)
    };
    compare(&config(1, 8, 2, 12, 5), 1, 5, false);
    compare(&config(2, 24, 2, 40, 7), 3, 7, true);
    // More rows than a block, with a rest; columns beyond the block.
    compare(&config(3, 20, 1, 18, 150), 2, 135, true);
    compare(&config(2, 32, 4, 32, 150), 2, 130, false);
}

/// A stream that grows row by row against the whole sequence at once.
#[test]
fn a_stream_grows_to_what_the_whole_sequence_gives() {
    let config = TransformerConfig { hidden: 40, ..TransformerConfig::new(2, 24, 2, 7) };
    let mut params = Params::new(3, Device::Cpu);
    let net = EnergyTransformer::new(&config, params.root()).unwrap();
    let fused = FusedTransformer::new(&net, &config).unwrap();
    let mut rng = TensorRng::new(8, Purpose::User);
    let [x, e] = [0; 2].map(|_| random(&mut rng, &[1, 7, 24]));
    let token = random(&mut rng, &[24]);
    for token in [None, Some(&token)] {
        let whole = fused.observe(&x, token).unwrap();
        let (energies, deltas, _) = fused.slope(&whole, &e).unwrap();
        let mut stream = fused.stream(&x.narrow(1, 0, 3), token).unwrap();
        for i in 2..7 {
            let (energy, delta) = fused.slope_after(&stream, &e.narrow(1, i, 1)).unwrap();
            assert!(error(&energy, &energies.narrow(1, i, 1)) < 1e-5);
            assert!(error(&delta, &deltas.narrow(1, i, 1)) < 1e-5);
            if i < 6 {
                fused.observe_more(&mut stream, &x.narrow(1, i + 1, 1)).unwrap();
            }
        }
        assert!(
            fused.slope_after(&stream, &e).is_err() && fused.stream(&e.repeat([2, 1, 1]), token).is_err()
        );
        assert!(fused.stream(&x.narrow(1, 0, 0), token).is_err());
        // The positions are for the context, a step token and a candidate.
        for _ in stream.rows()..9 {
            fused.observe_more(&mut stream, &x.narrow(1, 0, 1)).unwrap();
        }
        let error = fused.observe_more(&mut stream, &x.narrow(1, 0, 1)).unwrap_err().to_string();
        assert!(error.contains("at most 8"), "{error}");
    }
}

#[test]
fn other_types_and_shapes_are_errors() {
    let config = TransformerConfig::new(1, 8, 2, 4);
    let mut params = Params::new(3, Device::Cpu).with_kind(Kind::Double);
    let net = EnergyTransformer::new(&config, params.root()).unwrap();
    let error = FusedTransformer::new(&net, &config).unwrap_err().to_string();
    assert!(error.contains("f32 on the CPU"), "{error}");
    let mut params = Params::new(3, Device::Cpu);
    let net = EnergyTransformer::new(&config, params.root()).unwrap();
    let fused = FusedTransformer::new(&net, &config).unwrap();
    let zeros = |size: [i64; 3]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    assert!(
        fused.observe(&zeros([1, 5, 8]), None).is_err() && fused.observe(&zeros([1, 4, 6]), None).is_err()
    );
    let observed = fused.observe(&zeros([1, 4, 8]), None).unwrap();
    assert!(fused.slope(&observed, &zeros([1, 3, 8])).is_err());
}
