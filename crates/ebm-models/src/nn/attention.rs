//! Attention by explicit products and a softmax, so that it can be differentiated twice (LibTorch's fused kernels
//! cannot): plain, `softmax(q k^T / sqrt(d) + mask) v`, and the energy form, where a prediction sees observed
//! positions and itself. Sources: arXiv 1706.03762; the energy form: EBWM (arXiv 2406.08862), EBT (arXiv 2507.02092).
//!
//! Shapes: `n` sequences, `h` heads of `d` numbers, `s` queries, `t` keys.

use ebm_core::Result;
use tch::{Device, Kind, Tensor};

/// `[n, s, h d] -> [n, h, s, d]`.
///
/// # Errors
/// A width that is no multiple of `n_heads`.
pub fn split_heads(x: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (n, s, width) = x.size3()?;
    let h = n_heads as i64;
    Ok(x.f_view([n, s, h, width / h])?.f_transpose(1, 2)?)
}

/// `[n, h, s, d] -> [n, s, h d]`.
///
/// # Errors
/// A tensor that is not four-dimensional.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (n, h, s, d) = x.size4()?;
    Ok(x.f_transpose(1, 2)?.f_reshape([n, s, h * d])?)
}

/// To be added to scores `[.., rows, columns]`: 0 where row `i` may look at column `j <= i + offset`, else minus
/// infinity.
///
/// # Errors
/// When LibTorch fails.
pub fn causal_mask(rows: usize, columns: usize, offset: usize, kind: Kind, device: Device) -> Result<Tensor> {
    let all = Tensor::f_full([rows as i64, columns as i64], f64::NEG_INFINITY, (kind, device))?;
    Ok(all.f_triu(1 + offset as i64)?)
}

/// `q k^T / sqrt(d)`, plus the mask: `[n, h, s, t]`.
fn scores(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let d = *q.size().last().unwrap_or(&1) as f64;
    let scores = q.f_mul_scalar(1.0 / d.sqrt())?.f_matmul(&k.f_transpose(-2, -1)?)?;
    Ok(match mask {
        Some(mask) => scores.f_add(mask)?,
        None => scores,
    })
}

/// The softmax of scores over the last axis: taken in at least f32, in the scores' own type.
fn weights(scores: &Tensor) -> Result<Tensor> {
    let kind = scores.kind();
    let wide = if kind == Kind::Double { kind } else { Kind::Float };
    Ok(scores.f_softmax(-1, wide)?.f_to_kind(kind)?)
}

/// Queries `[n, h, s, d]` on keys and values `[n, h, t, d]`; `mask` `[s, t]` is added to the scores.
///
/// # Errors
/// Shapes that do not fit.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let weights = weights(&scores(q, k, mask)?)?;
    Ok(weights.f_matmul(v)?)
}

/// Observed keys and values of one layer, `[n, h, t, d]` each.
#[derive(Debug)]
pub struct KeysValues {
    /// Keys, after their rotation.
    pub keys: Tensor,
    /// Values.
    pub values: Tensor,
}

/// The energy form: prediction `i` (`q`, `k`, `v`: `[n, h, s, d]`) looks at the observed positions that `mask`
/// `[s, t]` allows and at itself, never at another prediction. The self score stands in a column of its own beside
/// the observed ones, so that one softmax covers both and no entry has to be cut out.
///
/// # Errors
/// Shapes that do not fit.
pub fn attend_with_self(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    observed: &KeysValues,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let t = observed.keys.size()[2];
    let d = *q.size().last().unwrap_or(&1) as f64;
    let own =
        q.f_mul(k)?.f_sum_dim_intlist([-1i64].as_slice(), true, q.kind())?.f_mul_scalar(1.0 / d.sqrt())?;
    let seen = scores(q, &observed.keys, mask)?;
    let weights = weights(&Tensor::f_cat(&[seen, own], -1)?)?;
    let from_observed = weights.f_narrow(-1, 0, t)?.f_matmul(&observed.values)?;
    Ok(from_observed.f_add(&weights.f_narrow(-1, t, 1)?.f_mul(v)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn random(size: &[i64]) -> Tensor {
        use ebm_core::random::Purpose;
        thread_local!(static CALLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        let call = CALLS.get();
        CALLS.set(call + 1);
        let mut rng = ebm_core::torch::TensorRng::new(7, Purpose::User).from_step(call);
        rng.normal(size, 1.0, Kind::Double, Device::Cpu).unwrap()
    }

    fn row(x: &Tensor, n: i64, h: i64, s: i64) -> Vec<f64> {
        Vec::try_from(&x.get(n).get(h).get(s)).unwrap()
    }

    fn softmax_mean(scores: &[f64], values: &[Vec<f64>]) -> Vec<f64> {
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let d = values[0].len();
        (0..d).map(|c| weights.iter().zip(values).map(|(w, v)| w * v[c]).sum::<f64>() / sum).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// The definition, one position at a time.
    #[test]
    fn both_forms_are_the_naive_loop() {
        let (n, h, s, d, prefix) = (2, 3, 5, 4, 1usize);
        let t = s + prefix as i64;
        let [q, k, v] = [0; 3].map(|_| random(&[n, h, s, d]));
        let observed = KeysValues { keys: random(&[n, h, t, d]), values: random(&[n, h, t, d]) };
        let mask = causal_mask(s as usize, t as usize, prefix, Kind::Double, Device::Cpu).unwrap();
        let with_self = attend_with_self(&q, &k, &v, &observed, Some(&mask)).unwrap();
        let plain = attend(&q, &observed.keys, &observed.values, Some(&mask)).unwrap();
        let scale = 1.0 / (d as f64).sqrt();
        for (b, head, i) in itertools(n, h, s) {
            let query = row(&q, b, head, i);
            let seen = i + prefix as i64 + 1;
            let values: Vec<_> = (0..seen).map(|j| row(&observed.values, b, head, j)).collect();
            let scores: Vec<_> =
                (0..seen).map(|j| scale * dot(&query, &row(&observed.keys, b, head, j))).collect();
            let close = |found: &Tensor, expected: &[f64]| {
                let found = row(found, b, head, i);
                found.iter().zip(expected).for_each(|(f, e)| assert!((f - e).abs() < 1e-12));
            };
            close(&plain, &softmax_mean(&scores, &values));
            let (mut values, mut scores) = (values, scores);
            scores.push(scale * dot(&query, &row(&k, b, head, i)));
            values.push(row(&v, b, head, i));
            close(&with_self, &softmax_mean(&scores, &values));
        }
    }

    fn itertools(n: i64, h: i64, s: i64) -> impl Iterator<Item = (i64, i64, i64)> {
        (0..n).flat_map(move |b| (0..h).flat_map(move |head| (0..s).map(move |i| (b, head, i))))
    }

    /// The published form: scores on all observed positions with a zero column appended, the self score added on the
    /// superdiagonal whose own entries were cut out, a causal mask one wider, and the weights taken apart again.
    fn published_form(q: &Tensor, k: &Tensor, v: &Tensor, observed: &KeysValues) -> Tensor {
        let (n, h, s, d) = q.size4().unwrap();
        let a = q.matmul(&observed.keys.transpose(2, 3)) / (d as f64).sqrt();
        let a = Tensor::cat(&[a, Tensor::zeros([n, h, s, 1], DOUBLE)], 3);
        let superdiagonal =
            Tensor::ones([s, s + 1], DOUBLE).triu(1) - Tensor::ones([s, s + 1], DOUBLE).triu(2);
        let own = (q * k).sum_dim_intlist([-1i64].as_slice(), true, Kind::Double) / (d as f64).sqrt();
        let a: Tensor = &a * (1.0 - &superdiagonal) + own * &superdiagonal;
        let mask = Tensor::full([s, s + 1], f64::NEG_INFINITY, DOUBLE).triu(2);
        let masked: Tensor = a + mask;
        let weights = masked.softmax(-1, Kind::Double);
        let own = (&weights * &superdiagonal).sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
        let rest: Tensor = weights * (1.0 - superdiagonal);
        let rest = rest.narrow(3, 0, s);
        rest.matmul(&observed.values) + own * v
    }

    #[test]
    fn the_energy_form_is_the_published_one() {
        let size = [2, 2, 6, 4];
        let [q, k, v, keys, values] = [0; 5].map(|_| random(&size));
        let observed = KeysValues { keys, values };
        let mask = causal_mask(6, 6, 0, Kind::Double, Device::Cpu).unwrap();
        let ours = attend_with_self(&q, &k, &v, &observed, Some(&mask)).unwrap();
        let difference = (ours - published_form(&q, &k, &v, &observed)).abs().max().double_value(&[]);
        assert!(difference < 1e-14, "{difference}");
    }

    #[test]
    fn heads_are_taken_apart_and_put_together() {
        let x = random(&[2, 3, 8]);
        let heads = split_heads(&x, 4).unwrap();
        assert_eq!(heads.size(), [2, 4, 3, 2]);
        assert_eq!(heads.double_value(&[1, 2, 0, 1]), x.double_value(&[1, 0, 5]));
        assert!(merge_heads(&heads).unwrap() == x);
        assert!(split_heads(&x, 3).is_err());
    }
}
