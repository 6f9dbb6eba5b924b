//! The actors of one act, as the play sees them: started, listened to, sent home.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use millstream::{Error, Result};

use super::tally::Tally;

/// A client: its name, and how often it asks in a second.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) per_second: u32,
}

/// Three programs that use one server: 45 requests a second, which 100 ports bear for a good two seconds. Each asks one after the
/// other, so that what one asks in a second must take less than a second.
pub(crate) const CLIENTS: [Role; 3] = [
    Role { name: "web-shop", per_second: 20 },
    Role { name: "billing", per_second: 15 },
    Role { name: "reports", per_second: 10 },
];

/// How clients treat their connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One for each request, from a port that the kernel chooses.
    Short,
    /// The same, from a window of a hundred that begins here.
    ShortFrom(u16),
    /// They keep them.
    Keeping,
}

impl Role {
    /// How many requests that is.
    pub(crate) fn count(&self, span: Duration) -> u32 {
        let ms = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        self.per_second.saturating_mul(ms) / 1000
    }
}

/// A process that plays a part; it goes home when this is dropped.
pub(crate) struct Actor {
    child: Child,
    // Its end is what the actor waits for.
    orders: Option<ChildStdin>,
}

impl Actor {
    fn start(arguments: &[&str]) -> Result<(Self, BufReader<ChildStdout>)> {
        // The name that stays right when the file was replaced or removed since.
        let mut command = Command::new("/proc/self/exe");
        command.args(["demo", "part"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Error::io(error).with_target("an actor"))?;
        let orders = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok((Self { child, orders }, lines))
    }

    /// The server, and where it listens.
    pub(crate) fn server(at: SocketAddr) -> Result<(Self, SocketAddr)> {
        let (mut server, mut lines) = Self::start(&["server", &at.to_string()])?;
        let mut line = String::new();
        lines.read_line(&mut line).map_err(|error| Error::io(error).with_target("the server"))?;
        let address = line.trim_end().parse().map_err(|_| server.complaint())?;
        Ok((server, address))
    }

    /// A client; what it says goes into the tally.
    pub(crate) fn client(
        role: &'static Role,
        server: SocketAddr,
        span: Duration,
        manner: Manner,
        tally: &Arc<Tally>,
    ) -> Result<Self> {
        let (server, count) = (server.to_string(), role.count(span).to_string());
        let (span, window) = (span.as_millis().to_string(), window(manner));
        let mut arguments = vec!["client", role.name, &server, &count, &span];
        if manner == Manner::Keeping {
            arguments.push("--keeps");
        }
        if let Some(window) = &window {
            arguments.extend(["--window", window]);
        }
        let (client, lines) = Self::start(&arguments)?;
        let tally = tally.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(std::io::Result::ok) {
                tally.add(role.name, &line);
            }
        });
        Ok(client)
    }

    /// Could this process make a room? The trial is another's, since a room that is half made can't be left.
    pub(crate) fn probe() -> Result<()> {
        let (mut probe, _) = Self::start(&["probe"])?;
        let status = probe.child.wait().map_err(|error| Error::io(error).with_target("the probe"))?;
        if status.success() { Ok(()) } else { Err(probe.complaint()) }
    }

    /// Has it ended, though the play has not?
    pub(crate) fn is_lost(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What it said when it ended too early.
    pub(crate) fn complaint(&mut self) -> Error {
        self.go_home();
        let stderr = self.child.stderr.take().map(std::io::read_to_string);
        let text = stderr.and_then(std::io::Result::ok).unwrap_or_default();
        let text = text.trim().trim_start_matches("millstream: ");
        Error::invalid(if text.is_empty() {
            "an actor ended without a word".to_owned()
        } else {
            text.to_owned()
        })
    }

    fn go_home(&mut self) {
        drop(self.orders.take());
        // It may have ended by itself, or hang: in both cases this is the end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.go_home();
    }
}

fn window(manner: Manner) -> Option<String> {
    match manner {
        Manner::ShortFrom(first) => Some(first.to_string()),
        Manner::Short | Manner::Keeping => None,
    }
}
