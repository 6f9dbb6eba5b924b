//! Credentials: RFC 7617 (basic) and RFC 6750 (bearer).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::Request;

/// A user and a password, sent in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// The user; never holds a colon.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Request {
    /// The token of `Authorization: Bearer ...`. Compare secrets in constant time.
    pub fn bearer(&self) -> Option<&str> {
        self.credentials("bearer").filter(|token| !token.is_empty())
    }

    /// User and password of `Authorization: Basic ...`. Compare secrets in constant time.
    pub fn basic(&self) -> Option<Basic> {
        let bytes = LENIENT.decode(self.credentials("basic")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Basic { user: user.to_owned(), password: password.to_owned() })
    }

    /// What follows the scheme. Two Authorization fields are none: which one counts is unclear.
    fn credentials(&self, scheme: &str) -> Option<&str> {
        let mut values = self.fields().get_all("authorization");
        let value = values.next().filter(|_| values.next().is_none())?;
        let (found, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    }
}

/// With padding or without: clients differ.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> Request {
        Request::sample(&format!("GET / HTTP/1.1\r\nAuthorization: {value}"))
    }

    #[test]
    fn basic_is_decoded() {
        for (value, expected) in [
            ("Basic dXNlcjpwYTpzcw==", Some(("user", "pa:ss"))),
            ("basic dXNlcjpwYTpzcw", Some(("user", "pa:ss"))),
            ("BASIC   dTo=", Some(("u", ""))),
            ("Basic dXNlcg==", None),
            ("Basic !!", None),
            ("Basic /w==", None),
            ("Bearer dXNlcjpwYQ==", None),
            ("Basic", None),
        ] {
            let basic = with(value).basic();
            let got = basic.as_ref().map(|basic| (basic.user.as_str(), basic.password.as_str()));
            assert_eq!(got, expected, "{value}");
        }
    }

    #[test]
    fn bearer_is_found_and_two_are_none() {
        assert_eq!(with("Bearer abc.def").bearer(), Some("abc.def"));
        assert_eq!(with("bEARER abc").bearer(), Some("abc"));
        assert_eq!(with("Bearer ").bearer(), None);
        assert_eq!(with("Bearer a\r\nAuthorization: Bearer b").bearer(), None);
    }

    #[test]
    fn password_is_not_printed() {
        let basic = with("Basic dXNlcjpwYTpzcw==").basic().expect("fits");
        assert!(!format!("{basic:?}").contains("pa:ss"));
    }
}
