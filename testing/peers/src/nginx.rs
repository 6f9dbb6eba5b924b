//! nginx, with a configuration made for one test.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::certs::Identity;
use crate::program::{Running, find, start_server};
use crate::{Folder, Skip};

/// What nginx shall do.
#[derive(Clone, Default)]
pub struct NginxConfig {
    server: String,
    location: String,
    tls: Option<Identity>,
}

impl NginxConfig {
    /// Answers everything with 404 until told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves the files of this folder.
    #[must_use]
    pub fn root(mut self, folder: &Path) -> Self {
        self.server += &format!("root \"{}\";\n", folder.display());
        self
    }

    /// Answers every request with 200 and this text, which must not hold quotes or dollar signs.
    #[must_use]
    pub fn answer(mut self, text: &str) -> Self {
        self.location += &format!("default_type text/plain; return 200 \"{text}\";\n");
        self
    }

    /// Closes each connection after this many requests.
    #[must_use]
    pub fn keepalive_requests(self, count: u64) -> Self {
        self.directive(&format!("keepalive_requests {count}"))
    }

    /// Closes connections that are idle for this many seconds; 0: after each response.
    #[must_use]
    pub fn keepalive_timeout(self, seconds: u64) -> Self {
        self.directive(&format!("keepalive_timeout {seconds}s"))
    }

    /// Speaks TLS as this server.
    #[must_use]
    pub fn tls(mut self, identity: &Identity) -> Self {
        self.tls = Some(identity.clone());
        self
    }

    /// Any directive of a `server` block, without its semicolon.
    #[must_use]
    pub fn directive(mut self, directive: &str) -> Self {
        self.server += &format!("{directive};\n");
        self
    }

    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When nginx is not installed.
    ///
    /// # Panics
    /// When it does not accept the configuration.
    #[track_caller]
    pub fn start(self) -> Result<Nginx, Skip> {
        let program = find("nginx")?;
        let folder = Folder::new();
        if let Some(identity) = &self.tls {
            identity.write_to(folder.path(), "server").expect("the folder is ours");
        }
        let (running, address) = start_server(|port| {
            let config = folder.write("nginx.conf", self.text(folder.path(), port));
            let mut command = Command::new(&program);
            command.arg("-p").arg(folder.path()).arg("-c").arg(config).arg("-e").arg("error.log");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        });
        Ok(Nginx { address, _running: running, folder })
    }

    fn text(&self, folder: &Path, port: u16) -> String {
        let folder = folder.display();
        let tls = match self.tls {
            Some(_) => {
                format!("ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;")
            }
            None => String::new(),
        };
        let ssl = if self.tls.is_some() { " ssl" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
            .concat();
        let Self { server, location, .. } = self;
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n{temporary}access_log {folder}/access.log;\n\
             server {{ listen 127.0.0.1:{port}{ssl} backlog=4096; {tls}\n{server}location / {{\n{location}}}\n}}\n}}\n"
        )
    }
}

/// An nginx that runs; killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    _running: Running,
    folder: Folder,
}

impl Nginx {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its access log so far: one line a request.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    /// Its error log so far.
    pub fn error_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawConn;

    #[test]
    fn nginx_closes_after_the_requests_it_was_told() {
        let nginx = crate::or_skip!(NginxConfig::new().answer("hello").keepalive_requests(2).start());
        let mut conn = RawConn::connect(nginx.address());
        for connection in ["keep-alive", "close"] {
            conn.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let response = conn.read_response("GET");
            assert_eq!((response.text(), response.field("connection")), ("hello", Some(connection)));
        }
        conn.expect_end();
        assert_eq!(nginx.access_log().lines().count(), 2);
    }
}
