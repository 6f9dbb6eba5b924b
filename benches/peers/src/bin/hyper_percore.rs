//! hyper on one current-thread tokio runtime a core, as somebody who wants the most of hyper would run it.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use millstream_bench_peers::{Args, body};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{LocalSet, spawn_local};

fn main() {
    let args = Args::from_process();
    let (listen, text) = (args.listen(), body(args.body_bytes()));
    let workers: Vec<_> = (0..args.workers())
        .map(|_| std::thread::spawn(move || work(listen, Bytes::from_static(text))))
        .collect();
    for worker in workers {
        worker.join().expect("a worker does not panic").expect("the address is free");
    }
}

fn work(listen: SocketAddr, text: Bytes) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(listener(&runtime, listen)?, text));
    Ok(())
}

fn listener(runtime: &tokio::runtime::Runtime, listen: SocketAddr) -> std::io::Result<TcpListener> {
    let _inside = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(listen)?;
    socket.listen(4096)
}

async fn serve(listener: TcpListener, text: Bytes) {
    loop {
        // A peer that has gone again already is no reason to end.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let text = text.clone();
        spawn_local(async move {
            let service = service_fn(move |request| std::future::ready(reply(request, text.clone())));
            let conn =
                http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service);
            let _ = conn.await;
        });
    }
}

fn reply(_: Request<Incoming>, text: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(millstream_bench_peers::CONTENT_TYPE));
    Ok(response)
}
