//! The tools for captures as files: words in, what was found or made out.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use mcrec_capture::{Capture, key_file};

use crate::{
    ask,
    cli::{
        exchange::{ExportArgs, Form, TraceKind},
        tools::{OutputArgs, Printed, Tool},
    },
    exchange::{Exported, Imported, Target, export, import},
    files::{
        Destination, Made,
        anonymise::anonymise,
        check::{Findings, check},
        info::{Info, info},
        merge::merge,
        slice::{Filter, slice},
    },
    panics::decoding,
    query::heading::{Heading, heading},
    render,
};

/// What a tool found or made.
pub(crate) enum Answer {
    Info(Box<Info>, Printed),
    Check(PathBuf, Findings, Printed),
    Made(PathBuf, Made),
    /// To where, if it is a file.
    Exported(Option<PathBuf>, Box<(Heading, Vec<PathBuf>)>, Exported),
    Imported(PathBuf, Imported),
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
            let made = slice(&opened(&args.file)?, &filter, &destination)?;
            Answer::Made(destination.path, made)
        }
        Tool::Merge(args) => {
            let files = mcrec_capture::files(&args.files)?;
            let captures = files.iter().map(|file| opened(file));
            let captures = captures.collect::<Result<Vec<_>>>()?;
            let destination = destination(args.output);
            let made = merge(&captures, &destination)?;
            Answer::Made(destination.path, made)
        }
        Tool::Anonymise(args) => {
            let pseudonyms = key_file::pseudonyms(&args.hash_keys)?;
            let destination = destination(args.output);
            let made = anonymise(&opened(&args.file)?, &pseudonyms, &destination)?;
            Answer::Made(destination.path, made)
        }
        Tool::Export(args) => exported(args)?,
        Tool::Import(args) => {
            let destination = destination(args.output);
            let imported = match args.from {
                TraceKind::CacheTrace => import(&args.trace, &destination)?,
            };
            Answer::Imported(destination.path, imported)
        }
    })
}

fn opened(path: &Path) -> Result<Capture> {
    decoding(path, || Capture::open(path))
}

fn exported(args: ExportArgs) -> Result<Answer> {
    let path = args.output.filter(|path| path != Path::new("-"));
    if path.is_none() && args.form == Form::OracleGeneral && io::stdout().is_terminal() {
        bail!("oracle-general is binary, and not for a terminal: name a file with -o, or pipe it");
    }
    let target = match &path {
        None => Target::Stdout,
        Some(path) => Target::File(Destination { path: path.clone(), force: args.force }),
    };
    let capture = ask::open(&args.files, &args.filter)?;
    let exported = export(&capture, args.form, &target)?;
    Ok(Answer::Exported(path, Box::new((heading(&capture), capture.repeated)), exported))
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
            Self::Made(..) | Self::Exported(..) | Self::Imported(..) => Ok(()),
        }
    }

    /// What is to be said beside that.
    pub(crate) fn remarks(&self) -> Vec<String> {
        match self {
            Self::Made(path, made) => render::made(path, made),
            Self::Exported(path, of, exported) => {
                let (heading, repeated) = &**of;
                render::exchange::exported(path.as_deref(), heading, repeated, exported)
            }
            Self::Imported(path, imported) => render::exchange::imported(path, imported),
            _ => Vec::new(),
        }
    }

    /// Whether there is nothing more that one must know.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Info(info, _) => info.is_complete(),
            Self::Check(_, findings, _) => findings.sound(),
            Self::Made(_, made) => !made.incomplete && made.late == 0,
            Self::Exported(_, of, _) => of.0.is_complete(),
            Self::Imported(_, imported) => imported.skipped.lines == 0,
        }
    }
}
