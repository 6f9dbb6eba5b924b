//! `--name value` pairs, without a library that would be measured too.

use std::str::FromStr;

/// The process's arguments.
#[derive(Debug)]
pub struct Args(Vec<String>);

impl Args {
    /// Those that the process was started with.
    pub fn from_process() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The value after `--name`, or `default`. An unreadable value ends the process: nobody else can mend it.
    pub fn value<T: FromStr>(&self, name: &str, default: T) -> T {
        let Some(at) = self.0.iter().position(|arg| arg.strip_prefix("--") == Some(name)) else {
            return default;
        };
        match self.0.get(at + 1).map(|value| value.parse()) {
            Some(Ok(value)) => value,
            _ => {
                eprintln!("--{name} needs a value that can be read");
                std::process::exit(2);
            }
        }
    }

    /// Where to listen.
    pub fn listen(&self) -> std::net::SocketAddr {
        self.value("listen", std::net::SocketAddr::from(([127, 0, 0, 1], 8080)))
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        self.value("workers", 1).max(1)
    }

    /// How many bytes the body of a reply has.
    pub fn body_bytes(&self) -> usize {
        self.value("body-bytes", 64)
    }
}
