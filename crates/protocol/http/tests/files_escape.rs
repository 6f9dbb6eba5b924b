//! No target leads out of a served folder: each of the corpus, under every setting, whole and below a prefix.

mod serving;

use std::os::unix::fs::symlink;

use millstream_http::{Files, Router};
use millstream_peers::Folder;
use serving::Served;

/// What no response may hold: the text of the file beside the root, and a line that every `/etc/passwd` has.
const SECRETS: [&str; 2] = ["the-secret-beside", "root:x:0:0"];

/// Targets as an attacker writes them. `secret.txt` lies beside the root; in the root lie links that lead out.
const TARGETS: &[&str] = &[
    "/../secret.txt",
    "/../../secret.txt",
    "/../../../../../../../../etc/passwd",
    "/sub/../../secret.txt",
    "/sub/../../../secret.txt",
    "/./../secret.txt",
    "/.../../secret.txt",
    "/..;/secret.txt",
    "/..;a=b/secret.txt",
    "/sub/..;/..;/secret.txt",
    "/%2e%2e/secret.txt",
    "/%2E%2E/secret.txt",
    "/.%2e/secret.txt",
    "/%2e./secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%2fsecret.txt",
    "/..%2Fsecret.txt",
    "/sub%2f..%2f..%2fsecret.txt",
    "/sub/%2e%2e/%2e%2e/secret.txt",
    "/%252e%252e/secret.txt",
    "/%252e%252e%252fsecret.txt",
    "/%25252e%25252e/secret.txt",
    "/%%32%65%%32%65/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/%c0%ae%c0%ae%c0%afsecret.txt",
    "/..%c0%afsecret.txt",
    "/%e0%80%ae%e0%80%ae/secret.txt",
    "/%f0%80%80%ae%f0%80%80%ae/secret.txt",
    "/%uff0e%uff0e/secret.txt",
    "/%u002e%u002e/secret.txt",
    "/%ef%bc%8e%ef%bc%8e/secret.txt",
    "/..\\secret.txt",
    "/..%5csecret.txt",
    "/..%5Csecret.txt",
    "/%2e%2e%5csecret.txt",
    "/sub\\..\\..\\secret.txt",
    "/..%00/secret.txt",
    "/%00../secret.txt",
    "/a.txt%00",
    "/..%00.txt",
    "/%2e%2e%00/secret.txt",
    "//etc/passwd",
    "///etc/passwd",
    "/%2fetc/passwd",
    "/%2f%2fetc%2fpasswd",
    "/%5cetc%5cpasswd",
    "//../secret.txt",
    "//..//secret.txt",
    "/sub//..//..//secret.txt",
    "/file:///etc/passwd",
    "/C:/secret.txt",
    "/~root/",
    "/~/../secret.txt",
    "/out",
    "/out/",
    "/sub/out",
    "/parent/secret.txt",
    "/parent/root/../secret.txt",
    "/winding/secret.txt",
    "/absolute",
    "/slash/etc/passwd",
    "/slash/proc/self/environ",
    "/slash/",
    "/chain",
    "/proc-link",
    "/fd-link",
    "/.. /secret.txt",
    "/..%20/secret.txt",
    "/..%09/secret.txt",
    "/..%0a/secret.txt",
    "/..%0d%0aX:%20y/secret.txt",
    "/..?/secret.txt",
    "/?/../secret.txt",
    "/..%3f/secret.txt",
    "/..%23/secret.txt",
    "/..&/secret.txt",
    "/%2e%2e;/secret.txt",
    "/a.txt/../../secret.txt",
    "/a.txt/../secret.txt",
    "/sub/..",
    "/sub/../..",
    "/..",
    "/../",
    "/.",
    "/%2e",
    "/%2e%2e",
    "/..%2f",
    "http://host/../secret.txt",
    "http://host/%2e%2e/secret.txt",
    "http://host//../secret.txt",
    "http://host/out",
];

fn traps() -> Folder {
    let folder = Folder::new();
    folder.write("secret.txt", "the-secret-beside");
    folder.write("root/a.txt", "a");
    folder.write("root/sub/b.txt", "b");
    let root = folder.path().join("root");
    let link = |target: &str, name: &str| symlink(target, root.join(name)).expect("the folder is ours");
    link("../secret.txt", "out");
    link("../../secret.txt", "sub/out");
    link("..", "parent");
    link("sub/../..", "winding");
    link("/etc/passwd", "absolute");
    link("/", "slash");
    link("out", "chain");
    link("/proc/self/root/etc/passwd", "proc-link");
    link("/proc/self/cwd", "fd-link");
    // Precompressed variants and the index must not lead out either.
    folder.write("root/variant.txt", "plain");
    link("../secret.txt", "variant.txt.gz");
    link("../../secret.txt", "sub/index.html");
    folder
}

#[test]
fn corpus_is_large_enough() {
    assert!(TARGETS.len() >= 40);
}

fn check(server: &Served, method: &str, prefix: &str) {
    for target in TARGETS {
        let target = match target.strip_prefix("http://host") {
            Some(path) => format!("http://host{prefix}{path}"),
            None => format!("{prefix}{target}"),
        };
        let mut conn = server.connect();
        conn.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"));
        let response = conn.read_response(method);
        let body = String::from_utf8_lossy(&response.body).into_owned();
        assert!(SECRETS.iter().all(|secret| !body.contains(secret)), "{target} leads out: {response:?}");
        assert!(
            !body.contains(">secret.txt<") && !body.contains(">etc/<"),
            "{target} lists what lies outside: {body}"
        );
        assert!(
            matches!(response.status, 200 | 301 | 400 | 404) && response.fields.get("x").is_none(),
            "{target}: {response:?}"
        );
        if response.status == 200 {
            // Only what lies inside and was meant so: a query is no path.
            let is_inside = target.contains('?') || target.starts_with("http://host/?");
            assert!(is_inside, "{target}: {response:?}");
        }
    }
}

#[test]
fn no_target_leads_out_of_the_root() {
    let folder = traps();
    let server = Served::start(Files::new(folder.path().join("root")).expect("it is there"));
    check(&server, "GET", "");
    check(&server, "HEAD", "");
}

#[test]
fn no_target_leads_out_with_listings_and_dotfiles() {
    let folder = traps();
    let files = Files::new(folder.path().join("root")).expect("it is there").with_listing().with_dotfiles();
    check(&Served::start(files), "GET", "");
}

#[test]
fn no_target_leads_out_below_a_prefix() {
    let folder = traps();
    let files = Files::new(folder.path().join("root")).expect("it is there").with_listing();
    let server = Served::start(Router::new().mount("/static", files));
    check(&server, "GET", "/static");
    for target in [
        "/static../secret.txt",
        "/static..%2fsecret.txt",
        "/static%2f..%2fsecret.txt",
        "/static%2e%2e/secret.txt",
    ] {
        let mut conn = server.connect();
        conn.send(serving::get(target));
        assert_eq!(conn.read_response("GET").status, 404, "{target}");
    }
}

#[test]
fn variant_and_index_that_lead_out_are_passed_over() {
    let folder = traps();
    let server = Served::start(Files::new(folder.path().join("root")).expect("it is there"));
    let mut conn = server.connect();
    conn.send("GET /variant.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let response = conn.read_response("GET");
    assert_eq!((response.status, response.text(), response.field("content-encoding")), (200, "plain", None));
    conn.send(serving::get("/sub/"));
    assert_eq!(conn.read_response("GET").status, 404);
}

#[test]
fn special_files_are_not_there() {
    use rustix::fs::{CWD, FileType, Mode, makedev, mkfifoat, mknodat};
    let folder = Folder::new();
    let root = folder.path();
    mkfifoat(CWD, root.join("fifo"), Mode::RUSR).expect("the folder is ours");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("the folder is ours");
    // Only root may make a device; elsewhere it is simply missing, and not served either.
    let _ = mknodat(CWD, root.join("zero"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 5));
    let server = Served::start(Files::new(root).expect("it is there").with_listing());
    for name in ["fifo", "socket", "zero"] {
        let mut conn = server.connect();
        conn.send(serving::get(&format!("/{name}")));
        assert_eq!(conn.read_response("GET").status, 404, "{name}");
    }
    let mut conn = server.connect();
    conn.send(serving::get("/"));
    let page = conn.read_response("GET");
    assert!(!page.text().contains("fifo") && !page.text().contains("zero"), "{}", page.text());
}
