//! Which content codings a client accepts: RFC 9110 §12.5.3.

use crate::codec::Fields;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// As it stands in Content-Encoding.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }
}

/// How much a client wants each coding, in thousandths; 0 is not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    brotli: u16,
    zstd: u16,
    gzip: u16,
    /// Without coding. Least wanted of all, but accepted, unless the client says otherwise.
    identity: u16,
}

impl Accepted {
    /// Nothing but the content as it is.
    pub(crate) const IDENTITY: Self = Self { brotli: 0, zstd: 0, gzip: 0, identity: 1 };

    /// What all Accept-Encoding fields say together. Without any nothing is coded: such clients seldom can.
    pub(crate) fn of(fields: &Fields) -> Self {
        let mut accepted = Self::IDENTITY;
        let (mut named, mut star) = (Named::default(), None);
        for item in fields.get_all("accept-encoding").flat_map(|value| value.split(|&byte| byte == b',')) {
            let Some((name, weight)) = weighted(item) else { continue };
            let name = name.to_ascii_lowercase();
            let (known, slot) = match name.as_str() {
                "br" => (&mut named.brotli, &mut accepted.brotli),
                "zstd" => (&mut named.zstd, &mut accepted.zstd),
                "gzip" | "x-gzip" => (&mut named.gzip, &mut accepted.gzip),
                "identity" => (&mut named.identity, &mut accepted.identity),
                "*" => {
                    star = Some(weight);
                    continue;
                }
                _ => continue,
            };
            (*known, *slot) = (true, weight);
        }
        if let Some(weight) = star {
            accepted.fill(&named, weight);
        }
        accepted
    }

    /// What `*` says holds for all that is not named.
    fn fill(&mut self, named: &Named, weight: u16) {
        for (known, slot) in
            [(named.brotli, &mut self.brotli), (named.zstd, &mut self.zstd), (named.gzip, &mut self.gzip)]
        {
            if !known {
                *slot = weight;
            }
        }
        // `*` forbids identity only with a weight of 0; else identity stays the last resort.
        if !named.identity && weight == 0 {
            self.identity = 0;
        }
    }

    fn weight(self, coding: Coding) -> u16 {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
        }
    }

    /// May the content go out as it is?
    pub(crate) fn allows_identity(self) -> bool {
        self.identity > 0
    }

    /// Those of `order` that the client wants at least as much as the plain content, most wanted first; equally wanted
    /// ones in the given order.
    pub(crate) fn ranked<const N: usize>(self, order: [Coding; N]) -> impl Iterator<Item = Coding> {
        let mut ranked = order;
        ranked.sort_by_key(|coding| std::cmp::Reverse(self.weight(*coding)));
        ranked.into_iter().filter(move |coding| self.weight(*coding) >= self.identity.max(1))
    }
}

#[derive(Default)]
struct Named {
    brotli: bool,
    zstd: bool,
    gzip: bool,
    identity: bool,
}

/// `gzip;q=0.5` as name and thousandths. An item with a malformed weight is none.
pub(crate) fn weighted(item: &[u8]) -> Option<(&str, u16)> {
    let item = std::str::from_utf8(item).ok()?.trim();
    let (name, parameter) = match item.split_once(';') {
        Some((name, parameter)) => (name.trim_end(), Some(parameter.trim())),
        None => (item, None),
    };
    if name.is_empty() {
        return None;
    }
    let Some(parameter) = parameter else { return Some((name, 1000)) };
    let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    Some((name, thousandths(weight)?))
}

/// `qvalue` of RFC 9110 §12.4.2: 0 to 1 with up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", decimals) => Some(decimals),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;

    const ORDER: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn of(value: &str) -> Accepted {
        let request = Request::sample(&format!("GET / HTTP/1.1\r\nAccept-Encoding: {value}"));
        Accepted::of(request.fields())
    }

    #[test]
    fn codings_are_ranked_by_weight_then_by_our_order() {
        for (value, expected) in [
            ("", ""),
            ("gzip", "gzip"),
            ("GZIP", "gzip"),
            ("x-gzip", "gzip"),
            ("deflate", ""),
            ("gzip, deflate, br, zstd", "zstd br gzip"),
            ("gzip;q=1.0, br;q=0.5", "gzip br"),
            ("gzip;q=0.001", "gzip"),
            ("gzip;q=0", ""),
            ("gzip ; q=0.5 , br;q=0.7", "br gzip"),
            ("*", "zstd br gzip"),
            ("*;q=0.5, br", "br zstd gzip"),
            ("*, zstd;q=0", "br gzip"),
            ("identity", ""),
            ("identity, gzip;q=0.5", ""),
            ("identity;q=0.5, gzip;q=0.5", "gzip"),
            ("identity;q=0, gzip;q=0.1", "gzip"),
            ("gzip;q=2", ""),
            ("gzip;q=1.001", ""),
            ("gzip;q=0.1234", ""),
            ("gzip;q=.5", ""),
            ("gzip;q=-1", ""),
            ("gzip;x=1", ""),
            (",,gzip,,", "gzip"),
        ] {
            let names: Vec<_> = of(value).ranked(ORDER).map(Coding::name).collect();
            assert_eq!(names.join(" "), expected, "{value:?}");
        }
    }

    #[test]
    fn identity_is_allowed_unless_refused() {
        for (value, allowed) in [
            ("gzip", true),
            ("identity;q=0", false),
            ("*;q=0", false),
            ("*;q=0, identity;q=0.5", true),
            ("*;q=0.5", true),
            ("identity;q=0.0", false),
        ] {
            assert_eq!(of(value).allows_identity(), allowed, "{value:?}");
        }
    }

    #[test]
    fn no_field_means_no_coding() {
        assert_eq!(Accepted::of(Request::sample("GET /").fields()), Accepted::IDENTITY);
    }

    #[test]
    fn several_fields_count_together() {
        let request = Request::sample("GET / HTTP/1.1\r\nAccept-Encoding: br\r\nAccept-Encoding: gzip;q=0.5");
        let names: Vec<_> = Accepted::of(request.fields()).ranked(ORDER).map(Coding::name).collect();
        assert_eq!(names, ["br", "gzip"]);
    }
}
