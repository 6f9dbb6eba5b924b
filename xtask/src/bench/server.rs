//! Starts a server on a free port, pinned to cores; stops it when dropped.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::build::Built;
use super::launcher::Launcher;
use crate::process;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Ours,
    Floor,
    HyperPerCore,
    HyperMulti,
    Axum,
    Actix,
    Nginx,
}

impl Subject {
    /// Its name in tables and for `--only`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "millstream",
            Self::Floor => "floor",
            Self::HyperPerCore => "hyper-percore",
            Self::HyperMulti => "hyper-multi",
            Self::Axum => "axum",
            Self::Actix => "actix-web",
            Self::Nginx => "nginx",
        }
    }

    /// What it is, for a reader of the table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Ours => "**millstream** (01_hello)",
            Self::Floor => "floor (raw epoll + httparse)",
            Self::HyperPerCore => "hyper, per-core tokio",
            Self::HyperMulti => "hyper, multi-threaded tokio",
            Self::Axum => "axum",
            Self::Actix => "actix-web",
            Self::Nginx => "nginx",
        }
    }

    /// `None` if it is not there.
    fn program(self, built: &Built) -> Option<PathBuf> {
        let peer = |name: &str| Some(built.peer(name)).filter(|path| path.is_file());
        match self {
            Self::Ours => built.example("01_hello"),
            Self::Floor => peer("floor"),
            Self::HyperPerCore => peer("hyper_percore"),
            Self::HyperMulti => peer("hyper_multi"),
            Self::Axum => peer("axum_server"),
            Self::Actix => peer("actix_server"),
            Self::Nginx => process::find("nginx"),
        }
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    /// How what loads it is to be started.
    pub(super) launcher: Launcher,
    /// nginx's configuration and temporary files.
    folder: Option<PathBuf>,
}

impl Server {
    /// Starts it with so many workers on these cores; `None` if the program is not there.
    pub(super) fn start(
        built: &Built,
        subject: Subject,
        workers: usize,
        cores: &str,
    ) -> Result<Option<Self>> {
        let Some(program) = subject.program(built) else { return Ok(None) };
        let address = free_address()?;
        let mut command = built.launcher.command(&program, cores);
        let mut folder = None;
        if subject == Subject::Nginx {
            let place = nginx_folder(address, workers)?;
            command.arg("-p").arg(&place).arg("-c").arg(place.join("nginx.conf")).arg("-e").arg("stderr");
            folder = Some(place);
        } else {
            command.args(["--listen", &address.to_string(), "--workers", &workers.to_string()]);
            command.args(["--body-bytes", "64"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("{} can't be started", program.display()))?;
        let mut server = Self { child, address, folder, launcher: built.launcher };
        server.wait_until_it_answers(subject)?;
        Ok(Some(server))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn wait_until_it_answers(&mut self, subject: Subject) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}", subject.name());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not listen", subject.name())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Politely first: a master ends its workers only then.
        process::succeeds("kill", &["-TERM", &self.child.id().to_string()]);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// An address whose port was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A folder with nginx's configuration: the same reply as all others give, nothing written to disk.
fn nginx_folder(address: SocketAddr, workers: usize) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("millstream-bench-nginx-{}", address.port()));
    std::fs::create_dir_all(&folder)?;
    let text = "Measured beside its peers on one machine, in one run, in turn. M";
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    let config = format!(
        "daemon off;\nworker_processes {workers};\npid {folder}/nginx.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log off;\n  default_type text/plain;\n  tcp_nodelay on;\n\
         \x20 keepalive_requests 1000000000;\n  keepalive_timeout 600s;\n{temp}\
         \x20 server {{ listen {address} backlog=4096; location / {{ return 200 \"{text}\"; }} }}\n}}\n",
        folder = folder.display(),
    );
    std::fs::File::create(folder.join("nginx.conf"))?.write_all(config.as_bytes())?;
    Ok(folder)
}
