//! `benches/RESULTS.md`: one section a bench, each replaced by its next run, the others left as they are.

use std::path::Path;

use anyhow::Result;

const HEAD: &str = "\
# Results

Made by `cargo xtask bench`; each section says by which command, when and on what. Both sides of a comparison ran in
turn on the same machine in the same run: read the ratios, not the times.
";

/// Replaces the section `title`, or appends it.
pub(super) fn keep(root: &Path, title: &str, about: &str, text: &str) -> Result<()> {
    let path = root.join("benches/RESULTS.md");
    let old = std::fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    std::fs::write(path, replaced(&old, title, &format!("{about}\n{text}")))?;
    Ok(())
}

fn replaced(old: &str, title: &str, body: &str) -> String {
    let section = format!("## {title}\n\n{}\n", body.trim_end());
    let heading = format!("\n## {title}\n");
    let Some(begin) = old.find(&heading).map(|at| at + 1) else {
        return format!("{}\n\n{section}", old.trim_end());
    };
    let end = old[begin..].find("\n## ").map_or(old.len(), |at| begin + at);
    format!("{}{section}{}", &old[..begin], &old[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sections_stay() {
        let both = replaced(&replaced("# R\n", "A", "one"), "B", "two");
        assert_eq!(both, "# R\n\n## A\n\none\n\n## B\n\ntwo\n");
        let again = replaced(&both, "A", "three\n### deeper\n");
        assert_eq!(again, "# R\n\n## A\n\nthree\n### deeper\n\n## B\n\ntwo\n");
        assert_eq!(replaced(&again, "B", "four"), "# R\n\n## A\n\nthree\n### deeper\n\n## B\n\nfour\n");
    }
}
