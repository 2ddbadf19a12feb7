//! Random names.

use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Random letters and digits, from the system each time: a generator of the process's own would go on alike in all the
/// children that it forks.
pub(crate) fn random(len: usize) -> String {
    StdRng::from_os_rng().sample_iter(Alphanumeric).take(len).map(char::from).collect()
}
