//! `pubsub init`: makes a store with a mode and a group of its own.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use pubsub::StoreOptions;

use crate::context::{Context, Failure, Outcome};
use crate::values;

/// Create a store, to share it with a group or with everybody
#[derive(clap::Args)]
#[command(after_help = "\
A store that is not created this way is made on first use, private to its user. A shared one has the
set-group-ID and sticky bits, so that files keep its group and only their owners remove them.

Examples:
  pubsub init --group adm                       share the default store with a group (mode 3770)
  pubsub init --home /srv/pubsub --mode 777     a store for every user of the machine (mode 3777)
  pubsub init --home \"$HOME/.pubsub\"            a private store elsewhere (mode 0700)")]
pub struct Args {
    /// The group that shares it: a name or a number
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Permission bits, octal: 700, 770 or 777 [default: 770 with a group, else 700]
    #[arg(long, value_name = "MODE", value_parser = values::mode)]
    mode: Option<u32>,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let home = context.home();
    pubsub::create_store(home, &StoreOptions { mode: args.mode.unwrap_or(0), group: args.group })?;
    let shown = context.home_shown();
    let made = fs::metadata(home.unwrap_or_else(|| pubsub::home())).map_err(|error| Failure::io(&shown, &error))?;
    context.say(&format!("created {shown} with mode {:04o}, group {}", made.mode() & 0o7777, made.gid()));
    Ok(Outcome::Done)
}
