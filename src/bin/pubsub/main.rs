//! The `pubsub` command: publish, subscribe and look after a store from the shell. Uses the library's public interface
//! only.
//!
//! A subcommand is one file with its `Args` (what it is told) and a `run` (what it does). What they share: [`context`]
//! (options of every subcommand, failures, exit codes), [`channels`], [`output`], [`format`], [`table`], [`progress`],
//! [`signals`], [`values`], [`disk`], [`program`].

#![forbid(unsafe_code)]

mod bench;
mod bench_peer;
mod channels;
mod completions;
mod context;
mod disk;
mod doctor;
mod exec;
mod format;
mod gc;
mod init;
mod list;
mod man;
mod output;
mod play;
mod program;
mod progress;
mod publish;
mod record;
mod recording;
mod reply;
mod request;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod stats;
mod subscribe;
mod table;
mod top;
mod topics;
mod values;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::context::{Context, Failure, Outcome};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; also when whoever reads the output stops reading (pubsub sub a | head)
  1  it could not be done; the reason is on standard error
  2  the command line is wrong: an option, a topic, a header
  3  sub, record: the timeout passed before --count messages arrived; request: no reply in time
  4  doctor: something is wrong
  101  a defect of this program: please report it

  SIGINT (Ctrl-C), SIGTERM and SIGHUP end sub, request, reply, play, top, bench and topics keep in good order,
  channels closed; the command then dies of the signal, which shells show as 130, 143 or 129. They are the usual
  end of record, whose exit code is 0, as is that of top when Ctrl-C is pressed in it. A second signal ends a sub
  at once.

Environment:
  PUBSUB_HOME       the store's directory, unless --home says another
  PUBSUB_TRANSPORT  how messages travel to the channels opened here: ring or files
  NO_COLOR          top: no colours

Examples:
  pubsub sub 'news.+'                      in one terminal
  pubsub pub news.sports 'two goals'       in another
  pubsub COMMAND --help                    examples of each

Data goes to standard output, words to standard error.";

/// Publish and subscribe between the programs of this machine, without a server
#[derive(Parser)]
#[command(name = "pubsub", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pub(publish::Args),
    Sub(subscribe::Args),
    Request(request::Args),
    Reply(reply::Args),
    Ls(list::Args),
    Topics(topics::Args),
    Top(top::Args),
    Stats(stats::Args),
    Doctor(doctor::Args),
    Record(record::Args),
    Play(play::Args),
    Bench(bench::Args),
    Gc(gc::Args),
    Init(init::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
    #[cfg(feature = "serve")]
    Serve(serve::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer_without_command(&error),
    };
    // Without it, a store that another program damages is a core dump. What keeps the handler out keeps nothing else.
    let _ = pubsub::end_on_bus_error();
    let result = match cli.command {
        Command::Pub(args) => publish::run(args, &cli.context),
        Command::Sub(args) => subscribe::run(args, &cli.context),
        Command::Request(args) => request::run(args, &cli.context),
        Command::Reply(args) => reply::run(args, &cli.context),
        Command::Ls(args) => list::run(args, &cli.context),
        Command::Topics(args) => topics::run(args, &cli.context),
        Command::Top(args) => top::run(args, &cli.context),
        Command::Stats(args) => stats::run(args, &cli.context),
        Command::Doctor(args) => doctor::run(args, &cli.context),
        Command::Record(args) => record::run(args, &cli.context),
        Command::Play(args) => play::run(args, &cli.context),
        Command::Bench(args) => bench::run(args, &cli.context),
        Command::Gc(args) => gc::run(args, &cli.context),
        Command::Init(args) => init::run(args, &cli.context),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args, &cli.context),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args, &cli.context),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::TooFew) => ExitCode::from(3),
        Ok(Outcome::Faults) => ExitCode::from(4),
        Ok(Outcome::Signal(signal)) => signals::die_of(signal),
        Err(Failure::Interrupted(signal)) => signals::die_of(signal),
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            context::complain(&text);
            ExitCode::from(2)
        }
        Err(Failure::Failed(text)) => {
            context::complain(&text);
            ExitCode::FAILURE
        }
    }
}

/// Help and the version go to standard output; a command line that cannot be understood is a failure like any other.
fn answer_without_command(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nothing to say when nobody reads it.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            context::complain_in_lines(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            ExitCode::from(2)
        }
    }
}
