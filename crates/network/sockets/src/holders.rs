//! Which process holds a socket: a walk over the descriptors of all processes (`/proc/PID/fd`), on demand.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// A process that has sockets open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name: `comm`, 15 bytes at most.
    pub name: String,
}

/// Who holds some sockets.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    processes: Vec<Process>,
    by_inode: HashMap<u32, usize>,
    hidden: usize,
}

impl Holders {
    /// Looks for the holders of these inodes ([`Record::inode`](crate::Record::inode)); ends as soon as all are found. Of
    /// several processes that hold the same socket the one with the lowest number counts.
    pub fn find(inodes: impl IntoIterator<Item = u32>) -> Self {
        let mut wanted: HashSet<u32> = inodes.into_iter().filter(|inode| *inode != 0).collect();
        let mut holders = Self::default();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids: Vec<u32> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        for pid in pids {
            if wanted.is_empty() {
                break;
            }
            holders.look_into(pid, &mut wanted);
        }
        holders
    }

    fn look_into(&mut self, pid: u32, wanted: &mut HashSet<u32>) {
        let folder = format!("/proc/{pid}");
        let files = match fs::read_dir(Path::new(&folder).join("fd")) {
            Ok(files) => files,
            // One that has just ended is not hidden.
            Err(error) => {
                self.hidden += usize::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                return;
            }
        };
        let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        let held: Vec<u32> =
            links.filter_map(|link| inode_of(link.to_str()?)).filter(|inode| wanted.remove(inode)).collect();
        if held.is_empty() {
            return;
        }
        let name = fs::read_to_string(Path::new(&folder).join("comm")).unwrap_or_default();
        let number = self.processes.len();
        self.processes.push(Process { pid, name: name.trim_end().to_owned() });
        self.by_inode.extend(held.into_iter().map(|inode| (inode, number)));
    }

    /// Who holds the socket with this inode, if that was found.
    pub fn of(&self, inode: u32) -> Option<&Process> {
        self.by_inode.get(&inode).and_then(|number| self.processes.get(*number))
    }

    /// All that hold one of the sockets.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// How many processes could not be looked into: without root those of others.
    pub fn hidden(&self) -> usize {
        self.hidden
    }
}

/// `socket:[12345]`.
fn inode_of(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn own_socket_is_ours_and_a_made_up_one_nobodys() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("it is open");
        let inode = inode_of(link.to_str().expect("ASCII")).expect("a socket");
        let holders = Holders::find([inode, 0, u32::MAX]);
        assert_eq!(holders.of(inode).map(|process| process.pid), Some(std::process::id()));
        assert_eq!((holders.of(0), holders.of(u32::MAX), holders.processes().len()), (None, None, 1));
    }

    #[test]
    fn only_sockets_have_inodes_here() {
        assert_eq!(inode_of("socket:[7]"), Some(7));
        for other in
            ["pipe:[7]", "socket:[", "socket:[x]", "socket:[-1]", "/dev/null", "socket:[99999999999]"]
        {
            assert_eq!(inode_of(other), None, "{other}");
        }
    }
}
