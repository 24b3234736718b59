//! What `host_energy!` makes, for types without parameters: its first arm reads its own `[] Name` as a type and
//! fails (with the arms of that macro in the other order, this file can go).

macro_rules! on_host {
    ($name:ty) => {
        impl<T: crate::Real> crate::Energy<Vec<T>> for $name
        where
            Self: crate::HostEnergy<T>,
        {
            #[inline(always)]
            fn energy(&self, x: &Vec<T>) -> crate::Result<f64> {
                crate::check_dim(crate::HostEnergy::<T>::dim(self), x.len())?;
                Ok(crate::HostEnergy::value(self, x.as_slice()))
            }
        }
        impl<T: crate::Real> crate::GradEnergy<Vec<T>> for $name
        where
            Self: crate::HostEnergy<T>,
        {
            #[inline(always)]
            fn energy_grad(&self, x: &Vec<T>, grad: &mut Vec<T>) -> crate::Result<f64> {
                crate::check_dim(crate::HostEnergy::<T>::dim(self), x.len())?;
                Ok(crate::HostEnergy::value_grad(self, x.as_slice(), grad.as_mut_slice()))
            }
            #[inline(always)]
            fn grad(&self, x: &Vec<T>, grad: &mut Vec<T>) -> crate::Result<()> {
                crate::check_dim(crate::HostEnergy::<T>::dim(self), x.len())?;
                crate::HostEnergy::gradient(self, x.as_slice(), grad.as_mut_slice());
                Ok(())
            }
        }
        impl<T: crate::Real> crate::Energy<crate::Block<T>> for $name
        where
            Self: crate::HostEnergy<T>,
        {
            #[inline(always)]
            fn energy(&self, x: &crate::Block<T>) -> crate::Result<crate::BlockScalar> {
                crate::check_dim(crate::HostEnergy::<T>::dim(self), crate::HostPoint::dim(x))?;
                let mut values = [0.0; crate::BLOCK_CHAINS];
                for (x, value) in x.rows().zip(&mut values) {
                    *value = crate::HostEnergy::value(self, x);
                }
                Ok(crate::BlockScalar::Each(values))
            }
        }
        impl<T: crate::Real> crate::GradEnergy<crate::Block<T>> for $name
        where
            Self: crate::HostEnergy<T>,
        {
            #[inline(always)]
            fn energy_grad(
                &self,
                x: &crate::Block<T>,
                grad: &mut crate::Block<T>,
            ) -> crate::Result<crate::BlockScalar> {
                crate::check_dim(crate::HostEnergy::<T>::dim(self), crate::HostPoint::dim(x))?;
                let mut values = [0.0; crate::BLOCK_CHAINS];
                for ((x, grad), value) in x.rows().zip(grad.rows_mut()).zip(&mut values) {
                    *value = crate::HostEnergy::value_grad(self, x, grad);
                }
                Ok(crate::BlockScalar::Each(values))
            }
            #[inline(always)]
            fn grad(&self, x: &crate::Block<T>, grad: &mut crate::Block<T>) -> crate::Result<()> {
                let dim = crate::HostPoint::dim(x);
                crate::check_dim(crate::HostEnergy::<T>::dim(self), dim)?;
                crate::HostEnergy::gradient_rows(self, dim, x.as_slice(), grad.as_mut_slice());
                Ok(())
            }
        }
    };
}
pub(super) use on_host;
