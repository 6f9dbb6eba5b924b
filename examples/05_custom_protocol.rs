//! A protocol of one's own: from this codec come a server and a pooling client. Runs both and ends.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millstream::base::Limit;
use millstream::base::codec::{Decode, Encode};
use millstream::client::{self, Call, Client, ClientOptions, Target};
use millstream::prelude::*;
use millstream::server::{self, Server, ServerOptions};

/// Four bytes of length, then the text.
#[derive(Clone)]
struct Framed;

const FRAME: Limit = Limit::new("frame", 64 * 1024, "bytes");

impl Decode for Framed {
    type Message = Bytes;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>> {
        let Some(head) = buf.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        FRAME.check(length)?;
        if buf.len() < 4 + length {
            return Ok(None);
        }
        buf.advance(4);
        Ok(Some(buf.split_to(length).freeze()))
    }
}

impl Encode<Bytes> for Framed {
    fn encode(&mut self, text: Bytes, out: &mut BytesMut) -> Result<()> {
        FRAME.check(text.len())?;
        out.put_u32(text.len() as u32);
        out.put(text);
        Ok(())
    }
}

fn main() -> Result<()> {
    Engine::builder().build()?.run(async |engine| {
        let server = Server::bind(&engine, &"127.0.0.1:0".parse()?, ServerOptions::default())?;
        let shout = async |text: Bytes| Ok(Bytes::from(text.to_ascii_uppercase()));
        let running = server.serve(server::Simple::new("shout", Framed, shout))?;

        let protocol = client::Simple::new("shout", Framed).idempotent();
        let client = Client::new(&engine, server::lives(&engine), protocol, ClientOptions::default());
        let address = running.local_addr().as_tcp().expect("it listens on TCP");
        let target = Target::host("127.0.0.1", address.port());
        for word in ["one codec", "a server", "a client"] {
            let reply = client.call(&target, Bytes::from(word), Call::new()).await?;
            println!("{word} -> {}", String::from_utf8_lossy(&reply));
        }
        Ok(())
    })?
}
