//! The tools for captures as files: words in, what was found or made out.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;
use mcrec_capture::{Capture, key_file};

use crate::{
    cli::tools::{OutputArgs, Printed, Tool},
    files::{
        Destination, Made,
        anonymise::anonymise,
        check::{Findings, check},
        info::{Info, info},
        merge::merge,
        slice::{Filter, slice},
    },
    render,
};

/// What a tool found or made.
pub(crate) enum Answer {
    Info(Box<Info>, Printed),
    Check(PathBuf, Findings, Printed),
    Made(PathBuf, Made),
}

/// Does what `tool` says.
///
/// # Errors
///
/// When it cannot be done.
pub(crate) fn answer(tool: Tool) -> Result<Answer> {
    Ok(match tool {
        Tool::Info(look) => Answer::Info(Box::new(info(&look.file)?), look.format),
        Tool::Check(look) => {
            let findings = check(&look.file)?;
            Answer::Check(look.file, findings, look.format)
        }
        Tool::Slice(args) => {
            let filter = Filter {
                from: args.from,
                to: args.to,
                key: args.key,
                prefix: args.prefix,
                ops: args.op,
                conn_ids: args.conn,
            };
            let destination = destination(args.output);
            let made = slice(&Capture::open(&args.file)?, &filter, &destination)?;
            Answer::Made(destination.path, made)
        }
        Tool::Merge(args) => {
            let files = crate::capture::files(&args.files)?;
            let captures = files.iter().map(|file| Capture::open(file));
            let captures = captures.collect::<Result<Vec<_>>>()?;
            let destination = destination(args.output);
            let made = merge(&captures, &destination)?;
            Answer::Made(destination.path, made)
        }
        Tool::Anonymise(args) => {
            let pseudonyms = key_file::pseudonyms(&args.hash_keys)?;
            let destination = destination(args.output);
            let made = anonymise(&Capture::open(&args.file)?, &pseudonyms, &destination)?;
            Answer::Made(destination.path, made)
        }
    })
}

fn destination(args: OutputArgs) -> Destination {
    Destination { path: args.output, force: args.force }
}

impl Answer {
    /// Prints what was found.
    ///
    /// # Errors
    ///
    /// When `out` fails.
    pub(crate) fn print(&self, width: Option<u16>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Info(info, Printed::Text) => render::info::text(info, width, out),
            Self::Info(info, Printed::Json) => render::info::json(info, out),
            Self::Check(file, findings, Printed::Text) => render::check::text(file, findings, out),
            Self::Check(file, findings, Printed::Json) => render::check::json(file, findings, out),
            Self::Made(..) => Ok(()),
        }
    }

    /// What is to be said beside that.
    pub(crate) fn remarks(&self) -> Vec<String> {
        match self {
            Self::Made(path, made) => render::made(path, made),
            _ => Vec::new(),
        }
    }

    /// Whether there is nothing more that one must know.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Info(info, _) => info.is_complete(),
            Self::Check(_, findings, _) => findings.sound(),
            Self::Made(_, made) => !made.incomplete && made.late == 0,
        }
    }
}
