//! Cookies as the client sends them: RFC 6265 §5.4, read as leniently as browsers write.

use crate::Request;

impl Request {
    /// All cookies, in order, as name and value. Quotes around a value are taken off; nothing is decoded.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.fields().get_all("cookie").filter_map(|value| std::str::from_utf8(value).ok());
        texts.flat_map(|text| text.split(';')).filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            (!name.is_empty()).then_some((name, bare.unwrap_or(value)))
        })
    }

    /// The first cookie of this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_come_in_order_from_all_fields() {
        let request = Request::sample(
            "GET / HTTP/1.1\r\nCookie: a=1; b=\"two\";c = x=y ;; flag; =none\r\nCookie: a=again; d=",
        );
        let cookies: Vec<_> = request.cookies().collect();
        assert_eq!(cookies, [("a", "1"), ("b", "two"), ("c", "x=y"), ("a", "again"), ("d", "")]);
        assert_eq!(request.cookie("a"), Some("1"));
        assert_eq!(request.cookie("flag"), None);
    }

    #[test]
    fn lone_quote_is_a_value() {
        let request = Request::sample("GET / HTTP/1.1\r\nCookie: a=\"");
        assert_eq!(request.cookie("a"), Some("\""));
    }
}
