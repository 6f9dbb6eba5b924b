//! Both ways to stay below the root, against the same folder of traps.

use std::os::unix::fs::symlink;

use millstream_peers::Folder;
use rustix::fs::{CWD, FileType, Mode, fstat, mkfifoat};
use rustix::io::Errno;

use super::root::{Reach, Root, Way};

/// A root with files, links of all kinds, and a secret beside it.
fn traps() -> Folder {
    let folder = Folder::new();
    folder.write("secret.txt", "secret");
    folder.write("root/a.txt", "a");
    folder.write("root/sub/b.txt", "b");
    folder.write("root/sub/deep/c.txt", "c");
    let root = folder.path().join("root");
    let link = |target: &str, name: &str| symlink(target, root.join(name)).expect("the folder is ours");
    link("a.txt", "inside");
    link("sub/deep", "into");
    link("../a.txt", "sub/up");
    link("../../a.txt", "sub/deep/upup");
    link("inside", "chain");
    link("../secret.txt", "out");
    link("../../secret.txt", "sub/out");
    link("sub/../../secret.txt", "winding");
    link("..", "parent");
    link("sub/../..", "parent-winding");
    link("/etc/passwd", "absolute");
    link("/", "slash");
    link(root.join("a.txt").to_str().expect("text"), "absolute-inside");
    link("out", "chain-out");
    link("loop2", "loop1");
    link("loop1", "loop2");
    link("nowhere", "dangling");
    link("/proc/self/root/etc/passwd", "magic");
    link(".", "self");
    mkfifoat(CWD, root.join("fifo"), Mode::RUSR).expect("the folder is ours");
    folder
}

fn roots(folder: &Folder) -> [Root; 2] {
    [Way::Beneath, Way::Walk]
        .map(|way| Root::open(folder.path().join("root")).expect("it is there").with_way(way))
}

#[test]
fn both_ways_open_what_lies_inside_and_nothing_else() {
    let folder = traps();
    for (path, expected) in [
        ("a.txt", Ok("a")),
        ("sub/b.txt", Ok("b")),
        ("./a.txt", Ok("a")),
        ("inside", Ok("a")),
        ("chain", Ok("a")),
        ("into/c.txt", Ok("c")),
        ("sub/up", Ok("a")),
        ("sub/deep/upup", Ok("a")),
        ("into/upup", Ok("a")),
        ("self/self/self/a.txt", Ok("a")),
        ("out", Err(Errno::XDEV)),
        ("sub/out", Err(Errno::XDEV)),
        ("winding", Err(Errno::XDEV)),
        ("parent/secret.txt", Err(Errno::XDEV)),
        ("parent-winding/secret.txt", Err(Errno::XDEV)),
        ("parent/root/a.txt", Err(Errno::XDEV)),
        ("../secret.txt", Err(Errno::XDEV)),
        ("sub/../../secret.txt", Err(Errno::XDEV)),
        ("..", Err(Errno::XDEV)),
        ("absolute", Err(Errno::XDEV)),
        ("absolute-inside", Err(Errno::XDEV)),
        ("slash/etc/passwd", Err(Errno::XDEV)),
        ("chain-out", Err(Errno::XDEV)),
        ("magic", Err(Errno::XDEV)),
        ("loop1", Err(Errno::LOOP)),
        ("dangling", Err(Errno::NOENT)),
        ("none", Err(Errno::NOENT)),
        ("a.txt/none", Err(Errno::NOTDIR)),
        ("sub/none/b.txt", Err(Errno::NOENT)),
    ] {
        for root in roots(&folder) {
            let read = root
                .file(path, Reach::Disk)
                .map(|file| std::io::read_to_string(std::fs::File::from(file)).expect("a file of text"));
            assert_eq!(read.as_deref(), expected.as_ref().copied(), "{path} by {root:?}");
        }
    }
}

#[test]
fn absolute_path_never_leaves_the_root() {
    let folder = traps();
    let [beneath, walk] = roots(&folder);
    assert_eq!(beneath.file("/etc/passwd", Reach::Disk).err(), Some(Errno::XDEV));
    // The walk knows no absolute path: this one begins at the root.
    assert_eq!(walk.file("/etc/passwd", Reach::Disk).err(), Some(Errno::NOENT));
}

#[test]
fn folders_and_fifos_open_without_waiting() {
    let folder = traps();
    for root in roots(&folder) {
        for (path, kind) in [
            ("", FileType::Directory),
            ("sub", FileType::Directory),
            ("into", FileType::Directory),
            ("fifo", FileType::Fifo),
        ] {
            let file = root.file(path, Reach::Disk).expect(path);
            assert_eq!(FileType::from_raw_mode(fstat(file).expect("open").st_mode), kind, "{path:?}");
        }
    }
}

#[test]
fn link_that_is_swapped_all_the_time_never_leads_out() {
    let folder = traps();
    let root_path = folder.path().join("root");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut is_out = false;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                is_out = !is_out;
                let _ = std::fs::remove_file(root_path.join("fresh"));
                symlink(if is_out { ".." } else { "." }, root_path.join("fresh")).expect("ours");
                std::fs::rename(root_path.join("fresh"), root_path.join("swapped")).expect("ours");
            }
        });
        for root in roots(&folder) {
            for _ in 0..2000 {
                assert!(root.file("swapped/secret.txt", Reach::Disk).is_err());
                if let Ok(file) = root.file("swapped/a.txt", Reach::Disk) {
                    let text = std::io::read_to_string(std::fs::File::from(file)).expect("a file of text");
                    assert_eq!(text, "a");
                }
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn cached_reach_says_again_rather_than_wait() {
    let folder = traps();
    let [beneath, walk] = roots(&folder);
    // Just written, so it lies in memory.
    assert!(beneath.file("a.txt", Reach::Memory).is_ok());
    assert!(beneath.file("out", Reach::Memory).is_err());
    assert_eq!(walk.file("a.txt", Reach::Memory).err(), Some(Errno::AGAIN));
}

#[test]
fn missing_root_is_an_error() {
    let folder = Folder::new();
    assert_eq!(Root::open(folder.path().join("none")).err(), Some(Errno::NOENT));
    let file = folder.write("file", "");
    assert_eq!(Root::open(file).err(), Some(Errno::NOTDIR));
}
