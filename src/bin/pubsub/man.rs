//! `pubsub man`: the manual's pages, made of the same texts as `--help`.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::Cli;
use crate::context::{Context, Failure, Outcome, counted};

/// Write the pages of the manual into a directory (scripts/install.sh does)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pubsub man /usr/local/share/man/man1")]
pub struct Args {
    /// Made if it is not there
    directory: PathBuf,
}

pub fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let shown = args.directory.display().to_string();
    let pages = pages().map_err(|error| Failure::io("making the manual", &error))?;
    let write = |(name, page): &(String, Vec<u8>)| fs::write(args.directory.join(name), page);
    fs::create_dir_all(&args.directory)
        .and_then(|()| pages.iter().try_for_each(write))
        .map_err(|error| Failure::io(&shown, &error))?;
    context.say(&format!("wrote {} into {shown}", counted(pages.len() as u64, "page")));
    Ok(Outcome::Done)
}

/// The names of files and what is in them: one for the command, one for each subcommand.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    pages.push((format!("{name}.1"), page(command, &name)?));
    command.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| add(command, pages))
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).title(name.to_uppercase()).manual("libpubsub");
    let man = man.source(concat!("pubsub ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    write_notes(&mut page, &notes)?;
    if command.get_name() != "pubsub" {
        writeln!(page, ".SH SEE ALSO\n\\fBpubsub\\fR(1) has the exit codes.")?;
    }
    Ok(page)
}

/// What stands below the options in the help: its lines are as they should be, in a page as well.
fn write_notes(page: &mut Vec<u8>, notes: &str) -> io::Result<()> {
    const TITLES: [(&str, &str); 3] =
        [("Examples:", "EXAMPLES"), ("Exit codes:", "EXIT STATUS"), ("Environment:", "ENVIRONMENT")];
    let mut is_open = false;
    for line in notes.lines() {
        if let Some((_, title)) = TITLES.iter().find(|(words, _)| *words == line) {
            writeln!(page, "{}.SH {title}\n.nf", if is_open { ".fi\n" } else { "" })?;
        } else {
            if !is_open {
                writeln!(page, ".SH NOTES\n.nf")?;
            }
            writeln!(page, "{}", escaped(line))?;
        }
        is_open = true;
    }
    if is_open { writeln!(page, ".fi") } else { Ok(()) }
}

/// Text that roff shows as it is.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_subcommand() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["pubsub.1", "pubsub-pub.1", "pubsub-doctor.1", "pubsub-topics.1", "pubsub-topics-create.1"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!names.contains(&"pubsub-man.1") && !names.contains(&"pubsub-help.1"), "{names:?}");
        for (name, page) in &pages {
            let text = String::from_utf8(page.clone()).unwrap();
            let section = if name == "pubsub.1" { "\n.SH EXIT STATUS\n.nf\n" } else { "\n.SH EXAMPLES\n.nf\n" };
            assert!(text.contains(section) && text.contains("\n.SH SYNOPSIS\n"), "{name}: {text}");
            assert!(!text.contains("\\-\\-peer"), "{name}");
        }
    }

    #[test]
    fn lines_are_shown_as_they_are() {
        assert_eq!(escaped(".x 'a' --b \\n"), "\\&.x \\(aqa\\(aq \\-\\-b \\en");
    }
}
