//! `openssl s_server` and `s_client`: TLS that somebody else wrote.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::certs::Identity;
use crate::program::{Output, Running, find, run, start_server};
use crate::{Folder, Skip};

/// An `openssl s_server` that answers each GET with a page about the handshake; killed when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _running: Running,
    _folder: Folder,
}

impl Server {
    /// Starts one with this certificate, its chain, and more arguments.
    ///
    /// # Errors
    /// When openssl is not installed.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(identity: &Identity, arguments: &[&str]) -> Result<Self, Skip> {
        let (program, folder) = (find("openssl")?, Folder::new());
        let (leaf, issuers) = split(&identity.chain);
        folder.write("leaf.pem", leaf);
        folder.write("issuers.pem", issuers);
        folder.write("leaf.key", &identity.key);
        let (running, address) = start_server(|port| {
            let mut command = Command::new(&program);
            command.current_dir(folder.path()).args(["s_server", "-www", "-quiet", "-accept"]);
            command.arg(format!("127.0.0.1:{port}")).args(["-cert", "leaf.pem", "-key", "leaf.key"]);
            if !issuers.is_empty() {
                command.args(["-cert_chain", "issuers.pem"]);
            }
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        });
        Ok(Self { address, _running: running, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Runs `openssl s_client` against a server, sends `input`, and gives what it printed: the answer and, unless `-quiet`
/// is among the arguments, the handshake.
///
/// # Errors
/// When openssl is not installed.
///
/// # Panics
/// When it takes longer than 30 seconds.
#[track_caller]
pub fn client(address: SocketAddr, root: &str, arguments: &[&str], input: &[u8]) -> Result<Output, Skip> {
    let (program, folder) = (find("openssl")?, Folder::new());
    let root = folder.write("root.pem", root);
    let mut command = Command::new(program);
    command.args(["s_client", "-connect", &address.to_string(), "-verify_return_error", "-CAfile"]);
    command.arg::<&Path>(&root).args(arguments);
    Ok(run(&mut command, input))
}

/// The first certificate, and the others.
fn split(chain: &str) -> (&str, &str) {
    const END: &str = "-----END CERTIFICATE-----\n";
    chain.find(END).map_or((chain, ""), |at| chain.split_at(at + END.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Authority;

    #[test]
    fn client_trusts_the_server_through_its_chain() {
        let authority = Authority::new();
        let server = crate::or_skip!(Server::start(&authority.server(&["localhost"]), &[]));
        let arguments = ["-quiet", "-verify_hostname", "localhost"];
        let root = authority.root();
        let output =
            client(server.address(), &root, &arguments, b"GET / HTTP/1.0\r\n\r\n").expect("it is installed");
        assert!(output.stdout.starts_with("HTTP/1.0 200 ok"), "{output:?}");
        let strangers =
            client(server.address(), &Authority::new().root(), &["-quiet"], b"").expect("installed");
        assert_ne!(strangers.code, Some(0));
    }
}
