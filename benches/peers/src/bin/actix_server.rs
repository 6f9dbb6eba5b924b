//! actix-web as its documentation shows it.

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use bytes::Bytes;
use millstream_bench_peers::{Args, CONTENT_TYPE, body};

fn main() -> std::io::Result<()> {
    let args = Args::from_process();
    let text = Bytes::from_static(body(args.body_bytes()));
    let app = move || {
        let text = text.clone();
        let reply =
            move || std::future::ready(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text.clone()));
        App::new().route("/", web::get().to(reply))
    };
    rt::System::new().block_on(HttpServer::new(app).workers(args.workers()).bind(args.listen())?.run())
}
