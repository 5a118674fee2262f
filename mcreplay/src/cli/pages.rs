//! The manual page and shell completions, from the definition of the command line.

use std::{io, path::PathBuf};

use anyhow::{Context, Result};
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

/// What is made of the command line itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Page {
    /// Print completions for a shell
    #[command(after_help = "Example: mcreplay completions bash > /etc/bash_completion.d/mcreplay")]
    Completions {
        /// Which
        shell: Shell,
    },

    /// Write manual pages
    #[command(after_help = "Example: mcreplay manual /usr/local/share/man/man1")]
    Manual {
        /// The folder that they go to
        folder: PathBuf,
    },
}

impl Page {
    /// Prints or writes the pages of the program whose command line is `C`.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub(crate) fn make<C: CommandFactory>(&self) -> Result<()> {
        let mut command = C::command();
        match self {
            Self::Completions { shell } => {
                let name = command.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut command, name, &mut script);
                io::Write::write_all(&mut io::stdout(), &script).or_else(unless_enough)?;
            }
            Self::Manual { folder } => {
                clap_mangen::generate_to(command, folder)
                    .with_context(|| format!("cannot write pages to {}", folder.display()))?;
            }
        }
        Ok(())
    }
}

/// The reader has seen enough, as in `… | head`.
fn unless_enough(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}
