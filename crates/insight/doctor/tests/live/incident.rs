//! The incident that this crate was made for: a program's short connections use up all ports towards one endpoint, and nobody
//! can say whose they are, because TIME_WAIT has no process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use millstream_doctor::{Confidence, Observer, RemedyKind, Report, Side, Verdict};

use crate::namespace::{inside, listen};

/// Opens a hundred connections, says so, and closes them when told.
const CLIENT: &str = "
import socket, sys
def connect():
    one = socket.socket()
    one.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    one.bind(('10.9.0.1', 0))
    one.connect(('10.9.0.2', 8080))
    return one
all = [connect() for _ in range(100)]
print('open', flush=True)
sys.stdin.readline()
for one in all: one.close()
print('closed', flush=True)
sys.stdin.readline()
";

#[test]
fn ports_full_of_time_wait_are_told_with_endpoint_process_side_cause_and_remedy() {
    inside(|| {
        let (listener, _) = listen();
        let server = std::thread::spawn(move || {
            let mut all: Vec<_> = (0..100).map(|_| listener.accept().unwrap().0).collect();
            // To the client's end, and then ours: the client closes first.
            all.iter_mut().for_each(|one| assert_eq!(one.read(&mut [0]).unwrap(), 0));
        });
        let mut command = Command::new("python3");
        command.args(["-c", CLIENT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut orders = child.stdin.take().unwrap();

        let mut observer = Observer::new().unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "open");
        observer.sample().unwrap();
        orders.write_all(b"close\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "closed");
        server.join().unwrap();
        observer.sample().unwrap();
        observer.sample().unwrap();
        let report = Report::of(&observer.observation());
        let text = report.to_text();
        drop(orders);
        assert!(child.wait().unwrap().success());

        assert_eq!((report.verdict, report.diagnoses.len()), (Verdict::Critical, 1), "{text}");
        let one = &report.diagnoses[0];
        assert_eq!((one.rule.as_str(), one.side), ("ports-exhausted", Some(Side::Connecting)));
        assert_eq!(one.endpoint.as_deref(), Some("10.9.0.1 -> 10.9.0.2:8080"));
        assert!(one.cause.contains("we close first"), "{text}");
        let row = report.endpoints.iter().find(|row| row.remote == "10.9.0.2:8080").unwrap();
        assert_eq!((row.time_wait, row.used, row.budget, row.unknown), (100, 100, Some(100), 0), "{text}");
        let seen: Vec<_> = row.processes.iter().map(|one| (one.pid, one.sockets, one.confidence)).collect();
        assert_eq!(seen, [(child.id(), 100, Confidence::Certain)], "{text}");
        assert_eq!(one.remedies[0].kind, RemedyKind::Code);
        assert!(one.remedies[0].text.starts_with("reuse connections"), "{text}");
        assert!(
            one.not.iter().any(|line| line.starts_with("tcp_fin_timeout") && line.contains("60 s")),
            "{text}"
        );
    });
}
