//! Open descriptors of a process, and how many it may have.

use std::fs;

use crate::observation::Descriptors;

/// Nothing if the process is gone, or is not ours to look at.
pub(crate) fn read(pid: u32, name: &str) -> Option<Descriptors> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    let limit = limit(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)?;
    Some(Descriptors { pid, name: name.to_owned(), open, limit })
}

/// The soft limit, the first number of its line.
fn limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limit_is_the_first_number_and_nonsense_is_none() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(limit(text), Some(1024));
        assert_eq!(limit("Max open files unlimited unlimited files"), Some(u64::MAX));
        for bad in ["", "Max open files", "Max open files x y"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }
}
