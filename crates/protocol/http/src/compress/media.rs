//! Which media types shrink.

/// Is content of this type worth compressing? Text and its relatives are; pictures, films and archives are compressed
/// already.
pub(crate) fn is_compressible(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, name)) = media.split_once('/') else { return false };
    kind == "text"
        || name.ends_with("+json")
        || name.ends_with("+xml")
        || COMPRESSIBLE.binary_search(&media.as_str()).is_ok()
}

/// Sorted. Those beyond `text/*`, `*+json` and `*+xml`.
static COMPRESSIBLE: [&str; 20] = [
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/jsonl",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-www-form-urlencoded",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shrinks_and_pictures_do_not() {
        assert!(COMPRESSIBLE.is_sorted());
        for (content_type, expected) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/plain", true),
            ("text/event-stream", true),
            ("application/json", true),
            ("application/ld+json", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("video/mp4", false),
            ("application/gzip", false),
            ("application/octet-stream", false),
            ("", false),
            ("json", false),
        ] {
            assert_eq!(is_compressible(content_type), expected, "{content_type}");
        }
    }
}
