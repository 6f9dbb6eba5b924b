//! What the program is told, and usage errors that don't repeat what may hold a secret: URLs, fields, proxies, words that were
//! not meant to be arguments.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Error, Parser};

/// Parses the program's arguments; a usage error is said, and ends the program with 2.
pub(crate) fn parse<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| discreet(error).exit())
}

/// The same error without the value that it is about.
fn discreet(mut error: Error) -> Error {
    match error.kind() {
        ErrorKind::ValueValidation => refused(&error),
        ErrorKind::UnknownArgument => {
            hide(&mut error, ContextKind::InvalidArg, |word| !word.starts_with('-'));
            error
        }
        ErrorKind::InvalidSubcommand => {
            let is_command = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
            hide(&mut error, ContextKind::InvalidSubcommand, |word| !word.chars().all(is_command));
            error
        }
        _ => error,
    }
}

/// Which argument, and what is wrong. Parsers of values that may hold secrets don't repeat them either.
fn refused(error: &Error) -> Error {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => name,
        _ => "an argument",
    };
    let why = error.source().map(|why| format!(": {why}")).unwrap_or_default();
    let text = format!("bad value for '{argument}'{why}\n\nFor more information, try '--help'.\n");
    Error::raw(ErrorKind::ValueValidation, text)
}

fn hide(error: &mut Error, kind: ContextKind, is_secret: impl FnOnce(&str) -> bool) {
    if matches!(error.get(kind), Some(ContextValue::String(word)) if is_secret(word)) {
        error.insert(kind, ContextValue::String("(not shown)".to_owned()));
    }
}
