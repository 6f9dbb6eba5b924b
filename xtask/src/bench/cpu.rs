//! CPU time that a process and its children have used, from the kernel's own books.

use std::path::Path;

/// CPU time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) user_us: f64,
    pub(super) system_us: f64,
}

impl Cpu {
    pub(super) fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

/// A reading of the books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Exact: the scheduler's nanoseconds on a core, by thread.
    ran_ns: f64,
    /// The kernel's split, in ticks.
    user_ticks: f64,
    system_ticks: f64,
}

impl Reading {
    /// Of `pid`, its threads and all its children.
    pub(super) fn of(pid: u32) -> Self {
        let mut reading = Self::default();
        for pid in tree(pid) {
            let process = format!("/proc/{pid}");
            for thread in threads(pid) {
                let text = read(format!("{process}/task/{thread}/schedstat"));
                reading.ran_ns += text.split_whitespace().next().and_then(number).unwrap_or(0.0);
            }
            let stat = read(format!("{process}/stat"));
            // The name, in brackets, may hold spaces; utime and stime are the 12th and 13th field after it.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let mut ticks = fields.split_whitespace().skip(11).map_while(number);
            reading.user_ticks += ticks.next().unwrap_or(0.0);
            reading.system_ticks += ticks.next().unwrap_or(0.0);
        }
        reading
    }

    /// What was used since `earlier`: the scheduler's time, split as the ticks say.
    pub(super) fn since(self, earlier: Self) -> Cpu {
        let total_us = (self.ran_ns - earlier.ran_ns) / 1000.0;
        let user = self.user_ticks - earlier.user_ticks;
        let system = self.system_ticks - earlier.system_ticks;
        let share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        Cpu { user_us: total_us * share, system_us: total_us * (1.0 - share) }
    }
}

/// CPU time in microseconds that children of this process have used which have ended, in steps of a tick.
pub(super) fn of_children() -> f64 {
    const TICK_US: f64 = 10_000.0; // USER_HZ is 100 on every Linux
    let stat = read("/proc/self/stat");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // cutime and cstime are the 14th and 15th field after the name.
    fields.split_whitespace().skip(13).take(2).filter_map(number).sum::<f64>() * TICK_US
}

/// `pid` and everything that it or its children started.
pub(super) fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        for thread in threads(parent) {
            let text = read(format!("/proc/{parent}/task/{thread}/children"));
            all.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

fn threads(pid: u32) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/task"));
    let entries = folder.into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A process that has just ended reads as nothing.
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_thread_is_seen() {
        let pid = std::process::id();
        let before = Reading::of(pid);
        let mut state = 1_u64;
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 50 {
            state = std::hint::black_box(state.wrapping_mul(3));
        }
        let used = Reading::of(pid).since(before).total_us();
        assert!(used > 5_000.0, "{used}");
        assert!(tree(pid).contains(&pid));
    }
}
