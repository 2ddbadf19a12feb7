//! `pubsub gc`: removes what dead processes left.

#![forbid(unsafe_code)]

use crate::context::{Context, Failure, Outcome, counted};

/// Remove the channels that dead processes left in the store
#[derive(clap::Args)]
#[command(after_help = "\
Each open of a channel already removes a few of them; this removes all at once.

Examples:
  pubsub gc                      clean the default store
  pubsub gc --home /srv/pubsub   clean another")]
pub struct Args {}

pub fn run(_args: Args, context: &Context) -> Result<Outcome, Failure> {
    let removed = pubsub::cleanup(context.home())?;
    context.say(&format!("removed {} of dead processes from {}", counted(removed, "channel"), context.home_shown()));
    Ok(Outcome::Done)
}
