//! Opens connections, has one request served on each, and holds them open until its standard input ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use millstream_bench_peers::Args;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args = Args::from_process();
    let address: SocketAddr = args.value("connect", String::new()).parse()?;
    let count = args.value("connections", 10_000_usize);
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(served(address)?);
    }
    println!("holding {count}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

/// A connection on which one request was answered.
fn served(address: SocketAddr) -> Result<TcpStream, Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nUser-Agent: hold-open\r\nAccept: */*\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buf = [0; 4096];
    // The answer's body is 64 bytes; it is whole when so many follow the head.
    loop {
        let size = stream.read(&mut buf)?;
        answer.extend_from_slice(&buf[..size]);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() >= head + 4 + 64) {
            return Ok(stream);
        }
        if size == 0 {
            return Err("the server closed instead of answering".into());
        }
    }
}
