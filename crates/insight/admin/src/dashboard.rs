//! The page at `/` and what it loads.

pub(crate) const PAGE: &str = include_str!("dashboard/page.html");
pub(crate) const STYLE: &str = include_str!("dashboard/style.css");
pub(crate) const SCRIPT: &str = include_str!("dashboard/script.js");
