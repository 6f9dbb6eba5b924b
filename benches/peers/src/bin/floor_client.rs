//! The floor of clients: raw epoll, a connection a caller, one write and one read a request, heads parsed with httparse.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use millstream_bench_peers::{Args, Cpu, report};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args = Args::from_process();
    let url: String = args.value("url", String::new());
    let authority = url.strip_prefix("http://").ok_or("an http URL")?.trim_end_matches('/');
    let callers = args.value("callers", 64_u64);
    let mut client = Client::connect(authority.parse()?, authority, callers)?;
    client.run(callers)?;
    let start = Cpu::now();
    let done = client.run(args.value("requests", 100_000_u64))?;
    report(done, start);
    Ok(())
}

struct Client {
    epoll: OwnedFd,
    /// By number of the socket.
    conns: Vec<Option<Conn>>,
    request: Vec<u8>,
    input: Vec<u8>,
}

struct Conn {
    socket: TcpStream,
    /// What has come of an answer that is not whole.
    partial: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr, authority: &str, callers: u64) -> Result<Self, Error> {
        let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes();
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut conns = Vec::new();
        for _ in 0..callers {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let number = socket.as_raw_fd() as usize;
            epoll::add(&epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN | EventFlags::ET)?;
            conns.resize_with(conns.len().max(number + 1), || None);
            conns[number] = Some(Conn { socket, partial: Vec::new() });
        }
        Ok(Self { epoll, conns, request, input: vec![0; 64 * 1024] })
    }

    /// So many requests, each sent as soon as the one before it on its connection was answered.
    fn run(&mut self, requests: u64) -> Result<u64, Error> {
        let (mut sent, mut answered) = (0, 0);
        for conn in self.conns.iter_mut().flatten().take(usize::try_from(requests)?) {
            conn.socket.write_all(&self.request)?;
            sent += 1;
        }
        let mut events = Vec::with_capacity(256);
        while answered < requests {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                let number = event.data.u64() as usize;
                let conn = self.conns[number].as_mut().ok_or("an event of a socket that is there")?;
                if !conn.read_answer(&mut self.input)? {
                    continue;
                }
                answered += 1;
                if sent < requests {
                    conn.socket.write_all(&self.request)?;
                    sent += 1;
                }
            }
        }
        Ok(answered)
    }
}

impl Conn {
    /// One read; true if an answer is whole.
    fn read_answer(&mut self, input: &mut [u8]) -> Result<bool, Error> {
        let size = match self.socket.read(input) {
            Ok(0) => return Err("the server closed".into()),
            Ok(size) => size,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if self.partial.is_empty() && is_whole(&input[..size])? {
            return Ok(true);
        }
        self.partial.extend_from_slice(&input[..size]);
        let whole = is_whole(&self.partial)?;
        if whole {
            self.partial.clear();
        }
        Ok(whole)
    }
}

/// Is this one answer with its whole body?
fn is_whole(bytes: &[u8]) -> Result<bool, Error> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; 32];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields)?;
    let httparse::Status::Complete(head) = parsed else { return Ok(false) };
    let is_length = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("content-length");
    let length = response.headers.iter().find(is_length).ok_or("an answer with a length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    if response.code != Some(200) {
        return Err("an answer that is not 200".into());
    }
    Ok(bytes.len() >= head + length)
}
