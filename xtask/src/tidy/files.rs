//! Which files tidy looks at.

use std::path::Path;

use anyhow::{Context, Result};

/// All text files that people write, relative to `root`, sorted.
pub(super) fn list(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in std::fs::read_dir(&path).with_context(|| format!("{}", path.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_skipped(&name) {
                folders.push(below);
            } else if kind.is_file() && is_text(&name) {
                files.push(below);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Built, downloaded and generated things.
fn is_skipped(folder: &str) -> bool {
    matches!(folder, "target" | ".git" | "corpus" | "artifacts" | "node_modules")
}

fn is_text(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "rs" | "toml" | "md" | "sh" | "py" | "lua" | "html" | "css" | "js" | "lock" | "yml")
        || name == "run"
}
