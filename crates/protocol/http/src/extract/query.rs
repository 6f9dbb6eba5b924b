//! The query as a typed value.

use std::borrow::Cow;

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::Rejection;
use super::rejection::deserialize;
use crate::Request;

impl Request {
    /// The query as a value: `?page=2&size=50` as a struct with `page` and `size`. Without a query it is empty.
    ///
    /// # Errors
    /// 400 with the name of the field that does not fit.
    ///
    /// ```
    /// # use millstream_http::Request;
    /// #[derive(serde::Deserialize)]
    /// struct Page { page: u32, size: Option<u32> }
    /// let request = Request::sample("GET /list?page=2");
    /// let page: Page = request.query()?;
    /// assert_eq!((page.page, page.size), (2, None));
    /// # Ok::<(), millstream_http::extract::Rejection>(())
    /// ```
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        let pairs = form_urlencoded::parse(self.query_str().unwrap_or_default().as_bytes());
        deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(|(text, error)| {
            Rejection::new(StatusCode::BAD_REQUEST, format!("query: {text}")).with_source(error)
        })
    }

    /// The pairs of the query, decoded, in order; a name may come more than once.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query_str().unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Page {
        page: u32,
        name: Option<String>,
    }

    #[test]
    fn query_is_decoded_once() {
        let request = Request::sample("GET /?page=7&name=a%2Bb+c%2541");
        let page: Page = request.query().expect("fits");
        assert_eq!(page, Page { page: 7, name: Some("a+b c%41".to_owned()) });
    }

    #[test]
    fn rejection_names_the_field() {
        for (target, message) in [
            ("/?page=x", "query: page: invalid digit found in string"),
            ("/?name=a", "query: missing field `page`"),
            ("/", "query: missing field `page`"),
            ("/?page=-1", "query: page: invalid digit found in string"),
            ("/?page=4294967296", "query: page: number too large to fit in target type"),
        ] {
            let rejection = Request::sample(&format!("GET {target}")).query::<Page>().expect_err(target);
            assert_eq!((rejection.status(), rejection.message()), (StatusCode::BAD_REQUEST, message));
        }
    }

    #[test]
    fn pairs_keep_repeated_names_and_order() {
        let request = Request::sample("GET /?a=1&b=2&a=3&c");
        let pairs: Vec<_> = request.query_pairs().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(pairs, ["a:1", "b:2", "a:3", "c:"]);
    }
}
