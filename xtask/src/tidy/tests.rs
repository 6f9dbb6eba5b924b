//! A tree that breaks a rule fails by that rule; a tree that keeps all of them passes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::check;

const MANIFEST: &str =
    "[package]\nname = \"millstream-pool\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n";
const LIB: &str = "//! Keeps things.\n\npub fn keep() {}\n";

/// A workspace of one crate in a folder of its own, removed in the end.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("millstream-tidy-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let tree = Self(std::env::temp_dir().join(name));
        tree.write("Cargo.toml", "[workspace]\nmembers = [\"pool\"]\n");
        tree.write("pool/Cargo.toml", MANIFEST);
        tree.write("pool/README.md", "`millstream-pool`: keeps and lends things.\n");
        tree.write("pool/src/lib.rs", LIB);
        tree
    }

    fn with(file: &str, text: &str) -> Self {
        let tree = Self::new();
        tree.write(file, text);
        tree
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folder");
        std::fs::write(path, text).expect("file");
    }

    /// The rules broken, each with its file and line.
    fn broken(&self) -> Vec<String> {
        let report = check(&self.0).expect("tree can be read");
        report.findings.iter().map(|f| format!("{}:{}: {}", f.file, f.line, f.rule)).collect()
    }

    fn root(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn clean_tree_passes() {
    assert_eq!(Tree::new().broken(), Vec::<String>::new());
}

#[test]
fn each_broken_rule_is_found_where_it_is() {
    let long_file = format!("//! Long.\n{}", "\n".repeat(800));
    let long_function = format!("//! Long.\nfn long() {{{}}}\n", "\n".repeat(70));
    let cases: &[(&str, &str, &str)] = &[
        ("pool/src/a.rs", &long_file, "pool/src/a.rs:1: file-length"),
        ("pool/src/a.rs", &long_function, "pool/src/a.rs:2: function-length"),
        ("pool/src/a.rs", "fn a() {}\n", "pool/src/a.rs:1: module-doc"),
        ("pool/src/utils.rs", "//! Vague.\n", "pool/src/utils.rs:1: vague-name"),
        ("pool/src/common/a.rs", "//! Vague.\n", "pool/src/common/a.rs:1: vague-name"),
        ("pool/src/a.rs", "//! Vague.\nmod helpers {}\n", "pool/src/a.rs:2: vague-name"),
        ("pool/src/a.rs", "//! Open.\nfn a() { todo!() }\n", "pool/src/a.rs:2: unfinished"),
        ("pool/src/a.rs", "//! Open.\nfn a() {\n unimplemented!() }\n", "pool/src/a.rs:3: unfinished"),
        ("pool/tests/a.rs", "//! T.\n#[ignore = \"slow\"]\nfn a() {}\n", "pool/tests/a.rs:2: ignored-test"),
        ("pool/tests/a.rs", "//! T.\nfn a() { sleep(Duration::ZERO) }\n", "pool/tests/a.rs:2: sleep"),
        (
            "pool/src/a.rs",
            "//! T.\n#[cfg(test)]\nmod tests { fn a() { sleep(D) } }\n",
            "pool/src/a.rs:3: sleep",
        ),
        ("pool/src/codec/a.rs", "//! C.\nuse std::net::TcpStream;\n", "pool/src/codec/a.rs:2: codec"),
        (
            "pool/src/codec/a.rs",
            "//! C.\nuse std::{fmt, time::{Duration, Instant}};\n",
            "pool/src/codec/a.rs:2: codec",
        ),
        ("pool/src/codec/a.rs", "//! C.\nasync fn a() {}\n", "pool/src/codec/a.rs:2: codec"),
        ("pool/src/codec.rs", "//! C.\nuse tokio::io;\n", "pool/src/codec.rs:2: codec"),
        ("docs/a.md", concat!("In\n/ho", "me/alice/x\n"), "docs/a.md:2: machine-path"),
        ("pool/README.md", "\n", "pool/README.md:1: readme"),
        ("Cargo.lock", "source = \"registry+https://mirror\"\n", "Cargo.lock:1: lock"),
    ];
    for (file, text, expected) in cases {
        assert_eq!(Tree::with(file, text).broken(), [*expected], "{text}");
    }
}

#[test]
fn each_broken_manifest_rule_is_found() {
    let with = |more: &str| Tree::with("pool/Cargo.toml", &format!("{MANIFEST}{more}")).broken();
    assert_eq!(with("millstream-http.workspace = true\n"), ["pool/Cargo.toml:8: arrow"]);
    assert_eq!(
        with("http = { workspace = true, package = \"millstream-http\" }\n"),
        ["pool/Cargo.toml:8: arrow"]
    );
    assert_eq!(with("millstream-peers = { workspace = true }\n"), ["pool/Cargo.toml:8: arrow"]);
    assert_eq!(
        with("\n[build-dependencies]\nmillstream = { workspace = true }\n"),
        ["pool/Cargo.toml:10: arrow"]
    );
    let platform = "\n[target.'cfg(unix)'.dependencies]\nmillstream-flow.workspace = true\n";
    assert_eq!(with(platform), ["pool/Cargo.toml:10: arrow"]);
    assert_eq!(with("bytes = \"1\"\n"), ["pool/Cargo.toml:8: shared-version"]);
    assert_eq!(with("bytes.workspace = true\nmillstream-base.workspace = true\n"), Vec::<String>::new());
    let in_tests =
        "\n[dev-dependencies]\nmillstream-http.workspace = true\nmillstream-peers.workspace = true\n";
    assert_eq!(with(in_tests), Vec::<String>::new());
}

#[test]
fn lints_are_inherited_unless_the_crate_may_be_unsafe() {
    let manifest = |name: &str, lints: &str| format!("[package]\nname = \"{name}\"\n{lints}");
    let broken = |text: &str| Tree::with("pool/Cargo.toml", text).broken();
    assert_eq!(broken(&manifest("millstream-pool", "")), ["pool/Cargo.toml:2: lints"]);
    let own = "[lints.rust]\nunsafe_code = \"deny\"\n[lints.clippy]\nundocumented_unsafe_blocks = \"warn\"\n";
    assert_eq!(broken(&manifest("millstream-pool", own)), ["pool/Cargo.toml:2: lints"]);
    let stranger = broken(&manifest("millstream-stranger", "[lints]\nworkspace = true\n"));
    assert_eq!(stranger, ["pool/Cargo.toml:2: arrow", "pool/README.md:1: readme"]);
    let runtime = Tree::with("pool/Cargo.toml", &manifest("millstream-runtime", own));
    runtime.write("pool/README.md", "`millstream-runtime`: runs it all.\n");
    assert_eq!(runtime.broken(), Vec::<String>::new());
}

#[test]
fn path_of_this_checkout_is_found() {
    let tree = Tree::new();
    let root = tree.root().canonicalize().expect("it exists");
    tree.write("a.md", &format!("see {}/pool\n", root.display()));
    assert_eq!(tree.broken(), ["a.md:1: machine-path"]);
}

#[test]
fn words_in_strings_and_comments_break_nothing() {
    let text = "//! Not todo!() here.\n// sleep(Duration) async\nconst A: &str = \"todo!( /* mod utils\";\n";
    assert_eq!(Tree::with("pool/src/codec/a.rs", text).broken(), Vec::<String>::new());
}

#[test]
fn reason_lifts_a_rule_from_one_line() {
    let excused = "//! T.\n// tidy-allow(sleep): the peer is slow on purpose\nfn a() { sleep(D) }\n";
    assert_eq!(Tree::with("pool/tests/a.rs", excused).broken(), Vec::<String>::new());
    let bare = "//! T.\n// tidy-allow(sleep):\nfn a() { sleep(D) }\n";
    assert_eq!(Tree::with("pool/tests/a.rs", bare).broken(), ["pool/tests/a.rs:3: sleep"]);
}

#[test]
fn paused_time_may_sleep() {
    let text = "//! T.\n#[tokio::test(start_paused = true)]\nasync fn a() { sleep(D).await }\n";
    assert_eq!(Tree::with("pool/tests/a.rs", text).broken(), Vec::<String>::new());
}

#[test]
fn file_over_500_lines_wants_a_reason() {
    let warnings = |text: &str| check(&Tree::with("pool/src/a.rs", text).0).expect("readable").warnings.len();
    let long = "\n".repeat(600);
    assert_eq!(warnings(&format!("//! Long.\n{long}")), 1);
    assert_eq!(warnings(&format!("//! Long.\n// Long because it is one table.\n{long}")), 0);
}
