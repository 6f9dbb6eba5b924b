//! Programs of this machine: found, started, stopped.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// Why a test can't run here: a program that is not installed. `or_skip!` ends the test with it.
#[derive(Debug)]
pub struct Skip(String);

impl Skip {
    /// Because of this.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Says so on standard error, where the test runner counts it.
    pub fn announce(&self, test: &str) {
        eprintln!("SKIPPED: {test}: {self}");
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// What a peer gave, or else the end of the test, announced as skipped.
///
/// ```
/// # fn test() {
/// let python = millstream_peers::or_skip!(millstream_peers::program::find("python3"));
/// # let _ = python;
/// # }
/// ```
#[macro_export]
macro_rules! or_skip {
    ($peer:expr) => {
        match $peer {
            Ok(peer) => peer,
            Err(skip) => {
                $crate::Skip::announce(&skip, std::thread::current().name().unwrap_or(module_path!()));
                return;
            }
        }
    };
}

/// Where the program is; folders that only root has in its path are searched as well.
///
/// # Errors
/// When it is not installed.
pub fn find(name: &str) -> Result<PathBuf, Skip> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| Skip::because(format!("{name} is not installed")))
}

/// A program that runs beside the test, and is killed with it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote, as text.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// What it wrote, as bytes.
    pub bytes: Vec<u8>,
}

impl Output {
    /// It must have ended well.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `command` to its end, for at most 30 seconds.
///
/// # Panics
/// When it can't be started, or takes longer.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command);
    let (stdin, stdout, stderr) =
        (running.child.stdin.take(), running.child.stdout.take(), running.child.stderr.take());
    let (bytes, complaint, code) = std::thread::scope(|scope| {
        let out = scope.spawn(move || read_all(stdout));
        let err = scope.spawn(move || read_all(stderr));
        scope.spawn(move || {
            // A program that ends without reading its input is no fault of ours.
            let _ = stdin.map(|mut stdin| std::io::Write::write_all(&mut stdin, input));
        });
        let code = running.wait(3 * PATIENCE);
        (out.join().expect("reads only"), err.join().expect("reads only"), code)
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { code, stdout: text(&bytes), stderr: text(&complaint), bytes }
}

fn read_all(from: Option<impl Read>) -> Vec<u8> {
    let mut all = Vec::new();
    // What could be read is what there is to show.
    let _ = from.map(|mut from| from.read_to_end(&mut all));
    all
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// When the system refuses.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        Self { child, name }
    }

    /// The first line it writes.
    ///
    /// # Panics
    /// When its output is not piped, or it ends without a line.
    #[track_caller]
    pub fn first_line(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
        assert!(!line.is_empty(), "{} ended without a word", self.name);
        line.trim_end().to_owned()
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    #[track_caller]
    fn wait(&mut self, most: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) => {}
                Err(error) => panic!("{} got lost: {error}", self.name),
            }
            assert!(start.elapsed() < most, "{} has not ended after {most:?}", self.name);
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Waits until somebody answers at `address`. False when the program has ended instead.
    ///
    /// # Panics
    /// After ten seconds.
    #[track_caller]
    pub fn answers_at(&mut self, address: SocketAddr) -> bool {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if self.has_ended() {
                return false;
            }
            assert!(start.elapsed() < PATIENCE, "{} does not listen on {address}", self.name);
            std::thread::park_timeout(Duration::from_millis(2));
        }
        !self.has_ended()
    }

    /// Is it this process itself that listens on this TCP port, rather than somebody who was quicker?
    fn owns(&self, port: u16) -> bool {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let tables = ["net/tcp", "net/tcp6"].map(|table| std::fs::read_to_string(process.join(table)));
        let listening: Vec<String> = tables
            .iter()
            .flatten()
            .flat_map(|table| table.lines().filter_map(|line| socket_of(line, port)))
            .collect();
        let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.any(|link| listening.iter().any(|socket| link.as_os_str() == socket.as_str()))
    }
}

/// The socket, as links of descriptors name it, if this line of `/proc/net/tcp` is of one that listens on the port.
fn socket_of(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_it = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? == "0A";
    is_it.then(|| Some(format!("socket:[{}]", fields.get(9)?)))?
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of loopback that was free a moment ago, for programs that can't choose one themselves.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Starts a server that is told its port. Somebody may take the port in between: then it is tried again.
///
/// # Panics
/// When it ends five times.
#[track_caller]
pub(crate) fn start_server(mut command: impl FnMut(u16) -> Command) -> (Running, SocketAddr) {
    for _ in 0..5 {
        let port = free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut running = Running::start(&mut command(port));
        if running.answers_at(address) && running.owns(port) {
            return (running, address);
        }
    }
    panic!("the server ended five times instead of listening");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_program_is_a_skip_with_a_reason() {
        let skip = find("no-such-program").expect_err("nobody has it");
        assert_eq!(skip.to_string(), "no-such-program is not installed");
    }

    #[test]
    fn port_of_another_process_is_not_the_programs_own() {
        let sleep = crate::or_skip!(find("sleep"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut running = Running::start(Command::new(sleep).arg("60"));
        assert!(running.answers_at(address) && !running.owns(address.port()));
    }

    #[test]
    fn program_gets_its_input_and_gives_its_output() {
        let cat = crate::or_skip!(find("cat"));
        let input = vec![b'x'; 300_000];
        assert_eq!(run(&mut Command::new(cat), &input).succeeded().bytes, input);
    }
}
