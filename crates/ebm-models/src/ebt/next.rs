//! The landscapes over the next token of a text that grows. In f32 on the CPU the passes are those of
//! [`FusedTransformer`], elsewhere autograd's; both keep what they observed.

use ebm_core::{Error, Result};
use ebm_samplers::descent::{At, Landscape, Slope};
use tch::{Device, Kind, Tensor};

use super::text::EbtText;
use crate::nn::Observed;
use crate::nn::fused::{FusedStream, FusedTransformer};

enum Seen {
    Autograd(Vec<Observed>),
    Fused(Box<FusedTransformer>, Vec<FusedStream>),
}

/// What was observed, one stream per landscape.
pub struct Next<'a> {
    net: &'a EbtText,
    seen: Seen,
}

impl<'a> Next<'a> {
    /// Nothing observed yet. `autograd` asks for graphs, which the other path does not have.
    ///
    /// # Errors
    /// When LibTorch fails.
    pub fn new(net: &'a EbtText, autograd: bool) -> Result<Self> {
        let x = net.embeddings();
        let seen = if autograd || x.kind() != Kind::Float || x.device() != Device::Cpu {
            Seen::Autograd(Vec::new())
        } else {
            let fused = FusedTransformer::new(net.transformer(), &net.config().transformer)?;
            Seen::Fused(Box::new(fused), Vec::new())
        };
        Ok(Self { net, seen })
    }

    /// Read `tokens` `[1, s]` in place of all that was observed.
    ///
    /// # Errors
    /// A sequence longer than the context.
    pub fn read(&mut self, tokens: &Tensor) -> Result<()> {
        match &mut self.seen {
            Seen::Autograd(observed) => *observed = tch::no_grad(|| self.net.observe(tokens))?,
            Seen::Fused(fused, streams) => {
                let x = tch::no_grad(|| self.net.embed(tokens))?;
                *streams = (0..self.net.config().n_landscapes())
                    .map(|i| fused.stream(&x, self.net.step_token(i)?.as_ref()))
                    .collect::<Result<_>>()?;
            }
        }
        Ok(())
    }

    /// Read one token `[1, 1]` more.
    ///
    /// # Errors
    /// More tokens than the context holds.
    pub fn grow(&mut self, token: &Tensor) -> Result<()> {
        match &mut self.seen {
            Seen::Autograd(observed) => tch::no_grad(|| self.net.observe_more(token, observed)),
            Seen::Fused(fused, streams) => {
                let x = tch::no_grad(|| self.net.embed(token))?;
                streams.iter_mut().try_for_each(|stream| fused.observe_more(stream, &x))
            }
        }
    }

    /// Energy and gradient by the width, by hand.
    fn fused(
        &self,
        fused: &FusedTransformer,
        streams: &[FusedStream],
        p: &Tensor,
        step: usize,
    ) -> Result<(Tensor, Tensor)> {
        let e = tch::no_grad(|| p.f_linear(self.net.vocab_to_embed(), None::<&Tensor>))?;
        let index = step.min(self.net.config().n_landscapes() - 1);
        let stream =
            streams.get(index).ok_or_else(|| Error::shape("landscapes", index + 1, streams.len()))?;
        fused.slope_after(stream, &e)
    }
}

impl Landscape for Next<'_> {
    fn energy(&self, p: &Tensor, at: &mut At<'_>) -> Result<Tensor> {
        match &self.seen {
            Seen::Autograd(observed) => self.net.next_landscape(observed).energy(p, at),
            Seen::Fused(fused, streams) => Ok(self.fused(fused, streams, p, at.step)?.0),
        }
    }

    fn slope(&self, p: &Tensor, at: &mut At<'_>, graph: bool) -> Result<Slope> {
        match &self.seen {
            Seen::Autograd(observed) => self.net.next_landscape(observed).slope(p, at, graph),
            Seen::Fused(..) if graph => {
                Err(Error::bad_value("graph", "some", "none without autograd", "set graph = \"none\""))
            }
            Seen::Fused(fused, streams) => {
                let (energy, delta) = self.fused(fused, streams, p, at.step)?;
                let gradient = tch::no_grad(|| delta.f_matmul(self.net.vocab_to_embed()))?;
                Ok(Slope { energy, gradient })
            }
        }
    }
}
