//! How the program ends: 0 all is well, 1 it could not be done (one line says why), 2 a usage error (said by clap) or a `bench` that
//! met errors, 128 and the signal's number when a signal ended it at once. The doctor's verdict is 0, 2 (warning) or 3 (critical).

use std::io::Write;
use std::process::ExitCode;

use millstream::Result;

/// How a command ended that ran at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Done,
    /// It did not do all it should; what is wrong was said already.
    Failed,
    /// It ran, and something is wrong: a warning of the doctor, errors in a bench.
    Warning,
    /// It ran, and connections of the host fail now.
    Critical,
    /// This signal ended it at once.
    Signal(u8),
}

impl Exit {
    fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Warning => 2,
            Self::Critical => 3,
            Self::Signal(number) => 128u8.saturating_add(number),
        }
    }

    /// Ends the process at once: no destructor may wait for a thread that is stuck.
    pub(crate) fn now(self) -> ! {
        std::process::exit(self.number().into())
    }
}

/// The exit code; an error is said in one line.
pub(crate) fn code(outcome: Result<Exit>) -> ExitCode {
    let exit = outcome.unwrap_or_else(|error| {
        complain(&error.to_string());
        Exit::Failed
    });
    exit.number().into()
}

/// One line on standard error.
pub(crate) fn complain(what: &str) {
    // Nobody reads it: then there is nothing to be done.
    let _ = writeln!(std::io::stderr(), "millstream: {}", what.trim_end().replace('\n', " "));
}
