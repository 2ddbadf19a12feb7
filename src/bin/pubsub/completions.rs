//! `pubsub completions`: what a shell needs to complete command lines.

#![forbid(unsafe_code)]

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;
use crate::context::{Failure, Outcome};
use crate::output;

/// Print what a shell needs to complete command lines of this program
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pubsub completions bash > ~/.local/share/bash-completion/completions/pubsub
  pubsub completions zsh > ~/.zfunc/_pubsub           with ~/.zfunc in fpath
  pubsub completions fish > ~/.config/fish/completions/pubsub.fish")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pubsub", &mut script);
    output::print(&script)?;
    Ok(Outcome::Done)
}
