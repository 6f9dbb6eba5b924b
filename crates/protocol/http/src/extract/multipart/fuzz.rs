//! Entry point of the fuzz target `multipart` in `fuzz/`: one verdict and the same fields however a form is split, no panic.

use bytes::Bytes;

use super::parser::{Event, Parser};

/// Heads and data of the fields, and how it ended: whole, not whole, or refused with this status.
type Verdict = (Vec<(Vec<u8>, Vec<u8>)>, Result<bool, u16>);

/// A form with the boundary `b`; the first byte says how the rest is split.
pub fn multipart(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let (fields, end) = read(bytes, bytes.len().max(1));
    let (pieces, end_of_pieces) = read(bytes, usize::from(size & 0x1f) + 1);
    assert_eq!(end, end_of_pieces);
    assert_eq!(fields, pieces);
    let held: usize = fields.iter().map(|(head, data)| head.len() + data.len()).sum();
    assert!(held <= bytes.len());
}

fn read(bytes: &[u8], size: usize) -> Verdict {
    let mut parser = Parser::new("b", HEAD_BYTES);
    let mut pieces = bytes.chunks(size);
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        match parser.next() {
            Err(rejection) => return (fields, Err(rejection.status().as_u16())),
            Ok(Event::NeedMore) => match pieces.next() {
                Some(piece) => parser.push(Bytes::copy_from_slice(piece)),
                None => return (fields, Ok(false)),
            },
            Ok(Event::Head(head)) => fields.push((head.to_vec(), Vec::new())),
            Ok(Event::Data(data)) => {
                fields.last_mut().expect("a head comes first").1.extend_from_slice(&data)
            }
            Ok(Event::FieldEnd) => {}
            Ok(Event::End) => return (fields, Ok(true)),
        }
    }
}

/// Small, so that the limit is met often.
const HEAD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_forms_have_one_verdict_however_they_are_split() {
        let form = b"--b\r\nA: c\r\n\r\none\r\n--b \t\r\nD: e\r\n\r\ntwo\r\n--c\r\n\r\n--b--\r\nend";
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let mut bytes = vec![random(256) as u8];
            bytes.extend_from_slice(form);
            for _ in 0..random(4) {
                let at = 1 + random(bytes.len() - 1);
                match random(3) {
                    0 => bytes[at] = b"\r\n-b :\t\0"[random(8)],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\r\n-b :\t\0"[random(8)]),
                }
            }
            multipart(&bytes);
        }
    }
}
