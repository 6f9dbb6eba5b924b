//! `millstream serve`: files of a folder over HTTP, until a signal says stop.

mod access;
mod options;
mod site;

use std::io::Write;

use millstream::admin::{Admin, RunningAdmin};
use millstream::http::server::ALPN;
use millstream::http::{Compress, HttpServer};
use millstream::server::Running;
use millstream::transport::tls::{Pem, TlsServer};
use millstream::{Engine, Error, Kind, Origin, Result, Shutdown};

use crate::exit::{Exit, complain};
use crate::signals::Signals;

use access::AccessLog;
pub(crate) use options::Options;
use site::Site;

/// Serves until a signal. The calling thread only waits for signals, so that a second one is heard even when every
/// worker is stuck.
pub(crate) fn run(options: &Options, is_quiet: bool) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::new(Kind::Io, Origin::Local, "can't start").with_source(error))?;
    runtime.block_on(serve(options, is_quiet))
}

async fn serve(options: &Options, is_quiet: bool) -> Result<Exit> {
    let mut signals = Signals::new()?;
    allow_descriptors();
    let site = Site::open(options)?;
    let engine = engine(options)?;
    let running = listen(&engine, options, &site)?;
    let admin = options.admin.as_deref().map(|address| admin(&engine, address, options)).transpose()?;
    if !is_quiet {
        announce(&site, &running, admin.as_ref(), options.tls_cert.is_some());
    }
    let first = signals.next().await;
    tracing::info!(signal = first, drain = ?options.drain, "draining: a second signal ends it now");
    let clean = tokio::select! {
        clean = engine.shutdown(Shutdown::Graceful(options.drain)) => clean,
        second = signals.next() => Exit::Signal(second).now(),
    };
    if !clean {
        complain(&format!("what was still under way after {:?} was cut off", options.drain));
    }
    // Not by return: the engine's end would wait for a worker that is stuck, or for a read of a dead disk.
    (if clean { Exit::Done } else { Exit::Failed }).now()
}

fn engine(options: &Options) -> Result<Engine> {
    let builder = Engine::builder();
    match options.workers {
        Some(count) => builder.workers(count).build(),
        None => builder.build(),
    }
}

fn listen(engine: &Engine, options: &Options, site: &Site) -> Result<Running> {
    let mut server = HttpServer::new(engine).with_max_connections(options.max_connections);
    if let Some(tls) = tls(options)? {
        server = server.with_tls(tls);
    }
    let (server, files) = (server.bind(&options.listen)?, site.files());
    match (options.compress, options.access_log) {
        (false, false) => server.serve(files),
        (true, false) => server.serve(Compress::new().wrap(files)),
        (false, true) => server.serve(AccessLog::start().wrap(files)),
        (true, true) => server.serve(AccessLog::start().wrap(Compress::new().wrap(files))),
    }
}

fn tls(options: &Options) -> Result<Option<TlsServer>> {
    let (certificate, key) = match (&options.tls_cert, &options.tls_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(Error::invalid("--tls-cert needs --tls-key")),
        (None, Some(_)) => return Err(Error::invalid("--tls-key needs --tls-cert")),
    };
    let tls = TlsServer::builder().with_certificate(Pem::file(certificate), Pem::file(key));
    tls.with_alpn(ALPN).build().map(Some)
}

fn admin(engine: &Engine, address: &str, options: &Options) -> Result<RunningAdmin> {
    let mut admin = Admin::new(engine).with_version(env!("CARGO_PKG_VERSION"));
    if options.admin_remote {
        admin = admin.allow_remote();
    }
    admin.bind(address).map_err(|error| match error.to_string() {
        text if text.contains("is not loopback") => Error::invalid(format!(
            "--admin {address} is reachable from other hosts: add --admin-remote if that is meant"
        )),
        _ => error,
    })
}

/// One line for people and scripts once it listens, and one for the admin endpoint.
fn announce(site: &Site, running: &Running, admin: Option<&RunningAdmin>, is_tls: bool) {
    let scheme = if is_tls { "https" } else { "http" };
    let mut out = std::io::stdout().lock();
    // Nobody reads it: the server serves all the same.
    let _ = writeln!(out, "serving {} on {}", site.root().display(), url(scheme, running.local_addr()));
    if let Some(admin) = admin {
        let _ = writeln!(out, "admin on {}", url("http", admin.local_addr()));
    }
    let _ = out.flush();
}

fn url(scheme: &str, address: &millstream::transport::Addr) -> String {
    match address.as_tcp() {
        Some(address) => format!("{scheme}://{address}"),
        None => address.to_string(),
    }
}

/// Every connection is a descriptor: takes as many as the system lets us, as other servers do.
fn allow_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::info!(%error, "the limit on descriptors stays");
    }
}
