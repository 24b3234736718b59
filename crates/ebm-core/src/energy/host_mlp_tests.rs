//! Tests of [`HostMlp`]: against a plain f64 network, finite differences and each other.

use super::*;
use crate::Point;
use crate::random::{Purpose, Stream};

const ALL: [HostActivation; 4] =
    [HostActivation::Silu, HostActivation::Tanh, HostActivation::Relu, HostActivation::Softplus];

fn layers(sizes: &[usize]) -> Vec<HostLayer> {
    let mut stream = Stream::new(1, Purpose::Init, 0);
    let mut normals = |n: usize, scale: f32| {
        let mut v = vec![0f32; n];
        stream.fill_normal(&mut v);
        v.iter_mut().for_each(|x| *x *= scale);
        v
    };
    let of_layer = |pair: &[usize]| HostLayer {
        weight: normals(pair[0] * pair[1], 1.5 / (pair[0] as f32).sqrt()),
        bias: normals(pair[1], 0.3),
    };
    sizes.windows(2).map(of_layer).collect()
}

fn value(activation: HostActivation, z: f64) -> f64 {
    match activation {
        HostActivation::Silu => z / (1.0 + (-z).exp()),
        HostActivation::Tanh => z.tanh(),
        HostActivation::Relu => z.max(0.0),
        HostActivation::Softplus => z.max(0.0) + (-z.abs()).exp().ln_1p(),
    }
}

/// The slope in closed form.
fn slope(activation: HostActivation, z: f64) -> f64 {
    let s = 1.0 / (1.0 + (-z).exp());
    match activation {
        HostActivation::Silu => s * (1.0 + z * (1.0 - s)),
        HostActivation::Tanh => 1.0 - z.tanh().powi(2),
        HostActivation::Relu => f64::from(u8::from(z > 0.0)),
        HostActivation::Softplus => s,
    }
}

/// Energy and gradient as the formulas of the module say, in f64.
fn reference(activation: HostActivation, layers: &[HostLayer], x: &[f64]) -> (f64, Vec<f64>) {
    let mut a = x.to_vec();
    let mut slopes = Vec::new();
    for (l, layer) in layers.iter().enumerate() {
        let rows = layer.weight.chunks_exact(a.len()).zip(&layer.bias);
        let z: Vec<f64> = rows
            .map(|(w, b)| w.iter().zip(&a).map(|(w, a)| f64::from(*w) * a).sum::<f64>() + f64::from(*b))
            .collect();
        let last = l + 1 == layers.len();
        slopes.push(z.iter().map(|z| if last { 1.0 } else { slope(activation, *z) }).collect::<Vec<_>>());
        a = z.iter().map(|z| if last { *z } else { value(activation, *z) }).collect();
    }
    let mut delta = vec![1.0];
    for (layer, slopes) in layers.iter().zip(&slopes).rev() {
        delta.iter_mut().zip(slopes).for_each(|(d, s)| *d *= s);
        let inputs = layer.weight.len() / layer.bias.len();
        delta = (0..inputs)
            .map(|k| delta.iter().enumerate().map(|(j, d)| d * f64::from(layer.weight[j * inputs + k])).sum())
            .collect();
    }
    (a[0], delta)
}

fn close(found: f64, expected: f64, scale: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-5 * scale, "{what}: {found} {expected}");
}

/// Blocks and single chains of every level, for every activation and sizes that do and do not fill panels, on whole
/// blocks and a part of one.
#[test]
fn energies_and_gradients_are_those_of_a_plain_network() {
    for (sizes, n) in [(&[2, 128, 128, 1][..], 64), (&[3, 17, 5, 33, 1], 7), (&[20, 1, 1], 64), (&[4, 1], 3)]
    {
        let dim = sizes[0];
        let mut rows = vec![0f32; n * dim];
        Stream::new(2, Purpose::Start, 0).fill_normal(&mut rows);
        for activation in ALL {
            let layers = layers(sizes);
            let mut net = HostMlp::new(dim, activation, layers.clone()).unwrap();
            let expected: Vec<_> = rows
                .chunks(dim)
                .map(|x| reference(activation, &layers, &x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()))
                .collect();
            let largest = expected.iter().flat_map(|(_, g)| g).fold(1.0, |m: f64, g| m.max(g.abs()));
            for level in Level::available() {
                net.level = level;
                let what = format!("{sizes:?} {activation:?} {level}");
                let block = Block::new(dim, rows.clone()).unwrap();
                let mut grad = block.zeros_like().unwrap();
                let energies = net.energy_grad(&block, &mut grad).unwrap();
                let alone = net.energy(&block).unwrap();
                for (i, ((x, g), (energy, gradient))) in
                    block.rows().zip(grad.rows()).zip(&expected).enumerate()
                {
                    let scale = energy.abs().max(1.0);
                    close(energies.of_chain(i), *energy, scale, &what);
                    assert_eq!(alone.of_chain(i), energies.of_chain(i));
                    let mut one = vec![0.0; dim];
                    close(net.energy_grad(&x.to_vec(), &mut one).unwrap(), *energy, scale, &what);
                    close(net.energy(&x.to_vec()).unwrap(), *energy, scale, &what);
                    for k in 0..dim {
                        close(f64::from(g[k]), gradient[k], largest, &what);
                        close(f64::from(one[k]), gradient[k], largest, &what);
                    }
                }
            }
        }
    }
}

/// Central differences of the f64 reference: that the formula of the gradient is the energy's.
#[test]
fn the_gradient_is_the_slope_of_the_energy() {
    let layers = layers(&[3, 16, 9, 1]);
    for activation in ALL {
        let x = [0.3, -0.7, 1.1];
        let mut grad = vec![0f32; 3];
        let net = HostMlp::new(3, activation, layers.clone()).unwrap();
        net.energy_grad(&x.map(|x| x as f32).to_vec(), &mut grad).unwrap();
        for k in 0..3 {
            let at = |h: f64| {
                let mut x = x;
                x[k] += h;
                reference(activation, &layers, &x).0
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((f64::from(grad[k]) - slope).abs() < 1e-5 * slope.abs().max(1.0), "{activation:?} {k}");
        }
    }
}

#[test]
fn a_chain_that_is_not_a_number_leaves_the_others_alone() {
    let net = HostMlp::new(2, HostActivation::Silu, layers(&[2, 8, 1])).unwrap();
    let mut rows = vec![0.5f32; 8];
    let clean = net.energy(&Block::new(2, rows.clone()).unwrap()).unwrap();
    rows[2] = f32::NAN;
    let energies = net.energy(&Block::new(2, rows).unwrap()).unwrap();
    assert!(energies.of_chain(1).is_nan());
    assert_eq!(energies.of_chain(0), clean.of_chain(0));
    assert_eq!(energies.of_chain(2), clean.of_chain(2));
}

#[test]
fn layers_that_do_not_fit_are_errors() {
    let text = |dim, layers| HostMlp::new(dim, HostActivation::Relu, layers).unwrap_err().to_string();
    assert_eq!(text(2, vec![]), "layers = 0: must be at least 1; give the output layer too");
    assert_eq!(text(3, layers(&[2, 4, 1])), "weight of layer 0: expected 4 x 3 = 12 numbers, found 8");
    let two = text(2, layers(&[2, 2]));
    assert_eq!(two, "outputs of the last layer = 2: must be 1; an energy is one number");
    let mut bad = layers(&[2, 4, 1]);
    bad[1].bias[0] = f32::NAN;
    assert_eq!(text(2, bad), "a weight of layer 1 = NaN: must be finite");
    let net = HostMlp::new(2, HostActivation::Relu, layers(&[2, 4, 1])).unwrap();
    assert!(net.energy(&vec![0.0; 3]).is_err());
    assert_eq!(net.macs(), 2 * 8 + 8);
}
