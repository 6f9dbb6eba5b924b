//! The floor: an HTTP server in raw epoll with nothing in it but what anybody must do. One read and one write a turn,
//! edge-triggered; heads are parsed with httparse, as everybody's must be; the date is rendered once a second.
//!
//! It is no server to use: no body is read, no time limit is kept, a peer that does not read is cut off.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::SystemTime;

use millstream_bench_peers::{Args, CONTENT_TYPE, body};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, Result};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, recv, send, sockopt,
};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let args = Args::from_process();
    let (listen, text) = (args.listen(), body(args.body_bytes()));
    let start = move || Worker::listen(listen, text).and_then(|mut worker| worker.run());
    let workers: Vec<_> = (1..args.workers()).map(|_| std::thread::spawn(start)).collect();
    if let Err(error) = start() {
        eprintln!("floor: {error}");
        std::process::exit(1);
    }
    drop(workers);
}

struct Worker {
    epoll: OwnedFd,
    listener: OwnedFd,
    /// By number of the socket.
    conns: Vec<Option<Conn>>,
    reply: Reply,
    input: Vec<u8>,
    output: Vec<u8>,
}

struct Conn {
    socket: OwnedFd,
    /// The beginning of a head whose end has not come.
    partial: Vec<u8>,
}

enum Next {
    Keep,
    Close,
}

impl Worker {
    fn listen(address: SocketAddr, text: &'static [u8]) -> Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        sockopt::set_socket_reuseport(&listener, true)?;
        net::bind(&listener, &address)?;
        net::listen(&listener, 4096)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let data = EventData::new_u64(listener.as_raw_fd() as u64);
        epoll::add(&epoll, &listener, data, EventFlags::IN)?;
        let conns = Vec::new();
        let (input, output) = (Vec::with_capacity(64 * 1024), Vec::with_capacity(64 * 1024));
        Ok(Self { epoll, listener, conns, reply: Reply::new(text), input, output })
    }

    fn run(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            self.reply.set_date();
            for event in &events {
                let number = event.data.u64() as usize;
                if number == self.listener.as_raw_fd() as usize {
                    self.accept();
                    continue;
                }
                // The peer's end may have come with its last bytes; there is no second edge for it.
                let flags = event.flags;
                let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                if matches!(self.serve(number), Next::Close) || ended {
                    self.conns[number] = None;
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok(socket) = accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            let number = socket.as_raw_fd() as usize;
            let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            let _ = sockopt::set_tcp_nodelay(&socket, true);
            if epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), flags).is_err() {
                continue;
            }
            if self.conns.len() <= number {
                self.conns.resize_with(number + 1, || None);
            }
            self.conns[number] = Some(Conn { socket, partial: Vec::new() });
        }
    }

    /// One read, all whole requests in it, one write.
    fn serve(&mut self, number: usize) -> Next {
        let Some(conn) = self.conns[number].as_mut() else { return Next::Keep };
        self.input.clear();
        self.input.append(&mut conn.partial);
        match recv(conn.socket.as_fd(), spare_capacity(&mut self.input), RecvFlags::empty()) {
            Ok((0, _)) => return Next::Close,
            Ok(_) => {}
            Err(Errno::AGAIN) => return Next::Keep,
            Err(_) => return Next::Close,
        }
        self.output.clear();
        let mut next = Next::Keep;
        let mut rest = self.input.as_slice();
        while let Some(head) = Head::parse(rest) {
            rest = &rest[head.length..];
            if head.length == 0 || head.wants_close {
                self.reply.append_closing(&mut self.output);
                next = Next::Close;
                break;
            }
            self.output.extend_from_slice(&self.reply.bytes);
        }
        if !rest.is_empty() {
            conn.partial.extend_from_slice(rest);
        }
        if self.output.is_empty() {
            return next;
        }
        let sent = send(conn.socket.as_fd(), &self.output, SendFlags::NOSIGNAL);
        if sent == Ok(self.output.len()) { next } else { Next::Close }
    }
}

/// What the floor wants to know of a request.
struct Head {
    /// Zero for what is no head at all.
    length: usize,
    wants_close: bool,
}

impl Head {
    /// The head that `bytes` begin with, `None` while its end is missing.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = [const { std::mem::MaybeUninit::uninit() }; 32];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(httparse::Status::Complete(length)) => {
                let closes = |field: &httparse::Header<'_>| {
                    field.name.eq_ignore_ascii_case("connection")
                        && field.value.eq_ignore_ascii_case(b"close")
                };
                Some(Self { length, wants_close: request.headers.iter().any(closes) })
            }
            Ok(httparse::Status::Partial) => None,
            Err(_) => Some(Self { length: 0, wants_close: true }),
        }
    }
}

/// The one reply, rendered once a second.
struct Reply {
    bytes: Vec<u8>,
    text: &'static [u8],
    second: i64,
}

impl Reply {
    fn new(text: &'static [u8]) -> Self {
        let mut reply = Self { bytes: Vec::new(), text, second: 0 };
        reply.set_date();
        reply
    }

    fn set_date(&mut self) {
        let second = clock_gettime(ClockId::RealtimeCoarse).tv_sec;
        if second != self.second {
            self.second = second;
            self.bytes = self.render("");
        }
    }

    fn append_closing(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.render("Connection: close\r\n"));
    }

    fn render(&self, more: &str) -> Vec<u8> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let length = self.text.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\nDate: {date}\r\n{more}\r\n"
        );
        [head.as_bytes(), self.text].concat()
    }
}
