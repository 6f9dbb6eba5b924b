//! The incident that this crate was made for: a program's short connections use up all ports towards one endpoint, and nobody
//! can say whose they are, because TIME_WAIT has no process.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use millstream_doctor::{Confidence, Observer, RemedyKind, Report, Side, Verdict};
use millstream_peers::or_skip;
use millstream_peers::program::find;

use crate::namespace::{inside, listen, until_time_wait};

/// Opens so many connections, says so, and closes them when told.
const CLIENT: &str = "
import socket, sys
def connect():
    one = socket.socket()
    one.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    one.bind(('10.9.0.1', 0))
    one.connect(('10.9.0.2', 8080))
    return one
all = [connect() for _ in range(int(sys.argv[1]))]
print('open', flush=True)
sys.stdin.readline()
for one in all: one.close()
print('closed', flush=True)
sys.stdin.readline()
";

/// The client, running.
struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    orders: ChildStdin,
}

impl Client {
    /// It has its connections open.
    fn start(count: usize) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", CLIENT, &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is there");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let orders = child.stdin.take().expect("it is piped");
        let mut client = Self { child, lines, orders };
        client.hear("open");
        client
    }

    fn hear(&mut self, word: &str) {
        let line = self.lines.next().expect("it has not ended").expect("it writes text");
        assert_eq!(line, word);
    }

    fn close_all(&mut self) {
        self.orders.write_all(b"close\n").expect("it listens");
        self.hear("closed");
    }

    fn end(mut self) {
        drop(self.orders);
        assert!(self.child.wait().expect("it is ours").success());
    }
}

/// Accepts so many, and ends each after the client has.
fn serve(count: usize) -> JoinHandle<()> {
    let (listener, _) = listen();
    std::thread::spawn(move || {
        let mut all: Vec<_> = (0..count).map(|_| listener.accept().expect("a client")).collect();
        all.iter_mut().for_each(|(one, _)| assert_eq!(one.read(&mut [0]).expect("it was quiet"), 0));
    })
}

#[test]
fn ports_full_of_time_wait_are_told_with_endpoint_process_side_cause_and_remedy() {
    or_skip!(find("python3"));
    inside(|| {
        let server = serve(100);
        let mut client = Client::start(100);
        let mut observer = Observer::new().unwrap();
        observer.sample().unwrap();
        client.close_all();
        server.join().unwrap();
        until_time_wait(100);
        observer.sample().unwrap();
        observer.sample().unwrap();
        let report = Report::of(&observer.observation());
        let text = report.to_text();
        let pid = client.child.id();
        client.end();

        assert_eq!((report.verdict, report.diagnoses.len()), (Verdict::Critical, 1), "{text}");
        let one = &report.diagnoses[0];
        assert_eq!((one.rule.as_str(), one.side), ("ports-exhausted", Some(Side::Connecting)));
        assert_eq!(one.endpoint.as_deref(), Some("10.9.0.1 -> 10.9.0.2:8080"));
        assert!(one.cause.contains("we close first"), "{text}");
        let row = report.endpoints.iter().find(|row| row.remote == "10.9.0.2:8080").unwrap();
        assert_eq!((row.time_wait, row.used, row.budget, row.unknown), (100, 100, Some(100), 0), "{text}");
        let seen: Vec<_> = row.processes.iter().map(|one| (one.pid, one.sockets, one.confidence)).collect();
        assert_eq!(seen, [(pid, 100, Confidence::Certain)], "{text}");
        assert_eq!(one.remedies[0].kind, RemedyKind::Code);
        assert!(one.remedies[0].text.starts_with("reuse connections"), "{text}");
        assert!(
            one.not.iter().any(|line| line.starts_with("tcp_fin_timeout") && line.contains("60 s")),
            "{text}"
        );
    });
}

#[test]
fn time_wait_of_three_programs_is_told_apart_when_they_are_gone() {
    or_skip!(find("python3"));
    inside(|| {
        let server = serve(60);
        let mut clients = [10, 20, 30].map(Client::start);
        let mut observer = Observer::new().unwrap();
        observer.sample().unwrap();
        clients.iter_mut().for_each(Client::close_all);
        let mut expected: Vec<_> = clients.iter().map(|one| one.child.id()).zip([10, 20, 30]).collect();
        clients.into_iter().for_each(Client::end);
        server.join().unwrap();
        until_time_wait(60);
        observer.sample().unwrap();
        observer.sample().unwrap();
        let report = Report::of(&observer.observation());
        let row = report.endpoints.iter().find(|row| row.remote == "10.9.0.2:8080").unwrap();
        let seen: Vec<_> = row.processes.iter().map(|one| (one.pid, one.sockets)).collect();
        expected.reverse();
        assert_eq!((seen, row.time_wait, row.unknown), (expected, 60, 0), "{}", report.to_text());
        assert!(
            row.processes.iter().all(|one| one.confidence == Confidence::Certain),
            "{}",
            report.to_text()
        );
    });
}
