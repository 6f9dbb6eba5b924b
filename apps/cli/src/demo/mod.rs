//! `millstream demo`: well-known incidents, played on this machine and explained.
//!
//! The actors are processes of their own ([`play`]), so that what is seen of them from outside, as by the doctor, is real.

mod act;
mod cast;
mod netlink;
mod options;
mod play;
mod room;
mod tally;
mod time_wait;
mod window;

use millstream::Result;

use crate::exit::Exit;

pub(crate) use options::Options;
use options::Play;

/// Plays the one that was asked for.
pub(crate) fn run(options: Options, is_quiet: bool) -> Result<Exit> {
    match options.play {
        Play::TimeWait(options) => time_wait::run(&options, is_quiet),
        Play::Part(part) => play::run(part.part),
    }
}
