//! The body as a typed value.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::Rejection;
use super::rejection::deserialize;
use crate::Request;

impl Request {
    /// The body as a value of a type, from JSON. Dropping the future loses what was read.
    ///
    /// # Errors
    /// 415 when Content-Type is neither `application/json` nor `application/...+json`; 400 when it is not JSON; 422 when
    /// it is JSON of another shape, with the path of the field; 413 when it is over the limit; else what broke the body.
    ///
    /// ```
    /// # use millstream_http::{Request, extract::Rejection};
    /// #[derive(serde::Deserialize)]
    /// struct User { name: String }
    ///
    /// async fn create(mut request: Request) -> Result<String, Rejection> {
    ///     let user: User = request.json().await?;
    ///     Ok(format!("hello {}", user.name))
    /// }
    /// ```
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Rejection> {
        if !self.content_type().is_some_and(is_json) {
            return Err(unsupported("application/json"));
        }
        let bytes = self.bytes().await?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = deserialize(&mut json).map_err(|(text, error)| not_fitting(text, error))?;
        json.end().map_err(|error| not_fitting(error.to_string(), error))?;
        Ok(value)
    }

    /// The body as a value of a type, from a form (`application/x-www-form-urlencoded`). Dropping the future loses what
    /// was read.
    ///
    /// # Errors
    /// 415 when Content-Type says that it is no such form; 422 with the name of the field that does not fit; 413 when it
    /// is over the limit; else what broke the body.
    pub async fn form<T: DeserializeOwned>(&mut self) -> Result<T, Rejection> {
        if !self.content_type().is_some_and(|media| media.eq_ignore_ascii_case(FORM)) {
            return Err(unsupported(FORM));
        }
        let bytes = self.bytes().await?;
        let form = serde_urlencoded::Deserializer::new(form_urlencoded::parse(&bytes));
        deserialize(form).map_err(|(text, error)| {
            Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, format!("form: {text}")).with_source(error)
        })
    }

    /// The media type of the body as the client spelled it, without parameters.
    fn content_type(&self) -> Option<&str> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim())
    }
}

fn is_json(media: &str) -> bool {
    let Some((kind, name)) = media.split_once('/') else { return false };
    let has_suffix = name.len() > 5 && name.as_bytes()[name.len() - 5..].eq_ignore_ascii_case(b"+json");
    kind.eq_ignore_ascii_case("application") && (name.eq_ignore_ascii_case("json") || has_suffix)
}

fn unsupported(wanted: &str) -> Rejection {
    Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Content-Type must be {wanted}"))
}

fn not_fitting(text: String, error: serde_json::Error) -> Rejection {
    let status = match error.classify() {
        Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
        Category::Io | Category::Syntax | Category::Eof => StatusCode::BAD_REQUEST,
    };
    Rejection::new(status, format!("JSON: {text}")).with_source(error)
}

const FORM: &str = "application/x-www-form-urlencoded";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct User {
        name: String,
        address: Option<Address>,
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Address {
        zip: u32,
    }

    fn post(content_type: &str, body: &'static str) -> Request {
        Request::sample(&format!("POST / HTTP/1.1\r\nContent-Type: {content_type}")).with_sample_body(body)
    }

    #[tokio::test]
    async fn json_fits() {
        for media in
            ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json"]
        {
            let user: User = post(media, r#"{"name":"a","address":{"zip":7}} "#).json().await.expect(media);
            assert_eq!(user, User { name: "a".to_owned(), address: Some(Address { zip: 7 }) });
        }
    }

    #[tokio::test]
    async fn json_rejection_has_the_right_status_and_path() {
        let json = "application/json";
        for (media, body, status, message) in [
            ("text/plain", r#"{"name":"a"}"#, 415, "Content-Type must be application/json"),
            ("application/jsonp", r#"{"name":"a"}"#, 415, "Content-Type must be application/json"),
            (json, "", 400, "JSON: EOF while parsing a value at line 1 column 0"),
            (json, r#"{"name":"#, 400, "JSON: name: EOF while parsing a value at line 1 column 8"),
            (json, r#"{"name":"a"} x"#, 400, "JSON: trailing characters at line 1 column 14"),
            (json, "{}", 422, "JSON: missing field `name` at line 1 column 2"),
            (
                json,
                r#"{"name":"a","address":{"zip":"x"}}"#,
                422,
                "JSON: address.zip: invalid type: string \"x\", expected u32 at line 1 column 32",
            ),
        ] {
            let rejection = post(media, body).json::<User>().await.expect_err(body);
            assert_eq!((rejection.status().as_u16(), rejection.message()), (status, message), "{body}");
        }
    }

    #[tokio::test]
    async fn body_over_the_limit_is_413() {
        let long: &'static str = Box::leak("x".repeat(9_000_000).into_boxed_str());
        let rejection = post("application/json", long).json::<User>().await.expect_err("too long");
        assert_eq!(rejection.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn form_fits_or_names_the_field() {
        let form = "application/x-www-form-urlencoded";
        let address: Address = post(form, "zip=12").form().await.expect("fits");
        assert_eq!(address, Address { zip: 12 });
        let rejection = post(form, "zip=a").form::<Address>().await.expect_err("no number");
        assert_eq!(rejection.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(rejection.message(), "form: zip: invalid digit found in string");
        let rejection = post("text/plain", "zip=1").form::<Address>().await.expect_err("no form");
        assert_eq!(rejection.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
