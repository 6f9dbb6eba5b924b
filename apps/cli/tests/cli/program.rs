//! The real `millstream` program, started, signalled, and waited for.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The program, running. It is killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

/// What a program that has ended left behind.
pub(crate) struct Ended {
    status: ExitStatus,
    /// What was not read before.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        let signal = self.status.signal();
        self.status.code().unwrap_or_else(|| panic!("ended by signal {signal:?}: {}", self.stderr))
    }
}

/// The command, with nothing of this machine's settings.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in [
        "RUST_LOG",
        "NO_COLOR",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
#[track_caller]
pub(crate) fn run(arguments: &[&str]) -> Ended {
    Program::start(&mut command(arguments)).wait()
}

impl Program {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program was built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = child.stderr.take().expect("it is piped");
        Self { child, stdout, stderr }
    }

    /// Serves `root` on a free port, with these arguments more; gives the first line it prints as well.
    #[track_caller]
    pub(crate) fn serve(root: &std::path::Path, arguments: &[&str]) -> (Self, SocketAddr) {
        let root = root.to_str().expect("folders of tests have plain names");
        let mut program = Self::start(command(&["serve", root, "--listen", "127.0.0.1:0"]).args(arguments));
        let line = program.line();
        let address = address_in(&line);
        (program, address)
    }

    /// The next line on standard output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a pipe can be read");
        if line.is_empty() {
            let mut why = String::new();
            self.stderr.read_to_string(&mut why).expect("a pipe can be read");
            panic!("it ended without a word: {why}");
        }
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is our child");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| self.stderr.read_to_string(&mut stderr));
            self.stdout.read_to_string(&mut stdout).expect("it writes text");
            reads.join().expect("reads only").expect("it writes text");
        });
        let status = self.child.wait().expect("it is our child");
        Ended { status, stdout, stderr }
    }
}

/// The address behind `://` in a line.
#[track_caller]
pub(crate) fn address_in(line: &str) -> SocketAddr {
    let address = line.rsplit_once("://").and_then(|(_, address)| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address in {line:?}"))
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
