//! The real peers that tests run against, and how they are installed on Debian.

use std::process::{Command, Stdio};

use crate::process;

use super::Install;

struct Peer {
    program: &'static str,
    package: &'static str,
    /// What is skipped without it.
    tests: &'static str,
}

const PEERS: &[Peer] = &[
    Peer { program: "nginx", package: "nginx", tests: "our client against nginx" },
    Peer { program: "wrk", package: "wrk", tests: "our server under wrk" },
    Peer { program: "ab", package: "apache2-utils", tests: "our server under ab" },
    Peer { program: "curl", package: "curl", tests: "our server and program beside curl" },
    Peer { program: "ip", package: "iproute2", tests: "everything in network namespaces" },
    Peer { program: "openssl", package: "openssl", tests: "TLS against openssl s_server and s_client" },
    Peer { program: "fio", package: "fio", tests: "no test; `cargo xtask bench file` needs it" },
    Peer { program: "python3", package: "python3", tests: "our server against Python's http.client" },
];

/// Installs what is missing, when that is wanted and possible; says what is still missing in the end.
pub(super) fn provide(install: Install) {
    let missing = missing();
    if missing.is_empty() {
        println!("real peers: all {} are here", PEERS.len());
        return;
    }
    match (install, privilege()) {
        (Install::Nothing, _) => println!("real peers: some are missing, and --no-install was given"),
        (Install::Missing, None) => println!(
            "real peers: some are missing, and they can't be installed: no apt-get, or neither root nor sudo without password"
        ),
        (Install::Missing, Some(privilege)) => apt_install(privilege, &missing),
    }
    let still = self::missing();
    for peer in &still {
        println!("MISSING {} (apt-get install {}): skipped: {}", peer.program, peer.package, peer.tests);
    }
    if still.is_empty() {
        println!("real peers: all {} are here", PEERS.len());
    }
}

fn missing() -> Vec<&'static Peer> {
    PEERS.iter().filter(|peer| process::find(peer.program).is_none()).collect()
}

/// What to put before `apt-get` to have the right to install; `None` where nothing gives it.
fn privilege() -> Option<&'static [&'static str]> {
    process::find("apt-get")?;
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(&[]);
    }
    process::succeeds("sudo", &["-n", "true"]).then_some(&["sudo", "-n"])
}

fn apt_install(privilege: &[&str], missing: &[&Peer]) {
    let packages: Vec<&str> = missing.iter().map(|peer| peer.package).collect();
    println!("real peers: installing {}", packages.join(", "));
    apt(privilege, &["update", "-qq"]);
    apt(privilege, &[["install", "-y", "-qq", "--no-install-recommends"].as_slice(), &packages].concat());
    if packages.contains(&"nginx") {
        // Its package starts a server on port 80 for all the world; tests start their own.
        let words = [privilege, &["systemctl", "disable", "--now", "nginx"]].concat();
        process::succeeds(words[0], &words[1..]);
    }
}

/// A failure is no end: what is missing after it is reported, and its tests are skipped.
fn apt(privilege: &[&str], args: &[&str]) {
    // `env` comes after sudo, which would drop the variable.
    let words = [privilege, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    let status = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("real peers: `{}` failed", words.join(" "));
    }
}
