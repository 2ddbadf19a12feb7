//! Random names and numbers.
//!
//! From the system each time: a generator of the process's own would go on alike in all the children that it forks, and one of
//! the thread's own is gone when destructors of static objects publish.

use rand::distr::{Alphanumeric, Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Random letters and digits.
pub(crate) fn random(len: usize) -> String {
    StdRng::from_os_rng().sample_iter(Alphanumeric).take(len).map(char::from).collect()
}

/// A random number.
pub(crate) fn number<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    StdRng::from_os_rng().random()
}
