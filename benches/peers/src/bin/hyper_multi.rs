//! hyper on multi-threaded tokio, with a slow route and a computing one beside the quick ones.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use millstream_bench_peers::{Args, body, work};
use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let args = Args::from_process();
    let text = Bytes::from_static(body(args.body_bytes()));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(args.workers()).enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(args.listen()).await?;
        // As a task: the main thread is no worker.
        tokio::spawn(serve(listener, text)).await?;
        Ok(())
    })
}

async fn serve(listener: TcpListener, text: Bytes) {
    loop {
        // A peer that has gone again already is no reason to end.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let text = text.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| reply(request, text.clone()));
            let conn =
                http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service);
            let _ = conn.await;
        });
    }
}

async fn reply(request: Request<Incoming>, text: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/slow" => tokio::time::sleep(work::SLOW).await,
        "/compute" => work::compute(),
        _ => {}
    }
    let mut response = Response::new(Full::new(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(millstream_bench_peers::CONTENT_TYPE));
    Ok(response)
}
