//! Python's own HTTP, both sides.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Skip;
use crate::program::{Output, Running, find, run};

/// Runs a Python program with these arguments.
///
/// # Errors
/// When Python is not installed.
///
/// # Panics
/// When it takes longer than 30 seconds.
#[track_caller]
pub fn script(text: &str, arguments: &[&str]) -> Result<Output, Skip> {
    let program = find("python3")?;
    Ok(run(Command::new(program).args(["-c", text]).args(arguments), b""))
}

/// Python's `http.server`, serving a folder with HTTP/1.1; killed when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _running: Running,
}

const SERVER: &str = "
import functools, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *words): pass
handler = functools.partial(Handler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()
";

impl Server {
    /// Serves this folder on a port of its choice.
    ///
    /// # Errors
    /// When Python is not installed.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(folder: &Path) -> Result<Self, Skip> {
        let mut command = Command::new(find("python3")?);
        command.args(["-c", SERVER]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running::start(&mut command);
        let port: u16 = running.first_line().parse().expect("it prints its port");
        Ok(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _running: running })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Folder, RawConn};

    #[test]
    fn server_serves_a_file() {
        let folder = Folder::new();
        folder.write("a.txt", "hello");
        let server = crate::or_skip!(Server::start(folder.path()));
        let mut conn = RawConn::connect(server.address());
        conn.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(conn.read_response("GET").text(), "hello");
    }
}
