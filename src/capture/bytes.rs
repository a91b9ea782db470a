//! [`Bytes`] as they stand in a recording.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// Bytes: as a string if they are UTF-8, else as `{"hex":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes<'a>(pub Cow<'a, [u8]>);

impl Bytes<'_> {
    pub const NONE: Bytes<'static> = Bytes(Cow::Borrowed(&[]));
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut hex = String::with_capacity(2 * self.0.len());
                for byte in self.0.iter() {
                    hex.extend([byte >> 4, byte & 15].map(|nibble| char::from(HEX[usize::from(nibble)])));
                }
                Hex { hex }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bytes<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = match TextOrHex::deserialize(deserializer)? {
            TextOrHex::Text(text) => text.into_bytes(),
            TextOrHex::Hex(Hex { hex }) => unhex(&hex)
                .ok_or_else(|| serde::de::Error::custom("hex: pairs of the digits 0-9 and a-f are wanted"))?,
        };
        Ok(Bytes(Cow::Owned(bytes)))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hex {
    hex: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrHex {
    Text(String),
    Hex(Hex),
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| HEX.iter().position(|known| known == byte).map(|at| at as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(&pair[0])? << 4 | digit(pair.get(1)?)?)).collect()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_kind_come_back() {
        for bytes in [&b""[..], b"plain \"text\"\n\x00", "ä €".as_bytes(), &[0xff, 0x00, 0xc3], &[0xe2, 0x82]]
        {
            let text = serde_json::to_string(&Bytes(bytes.into())).unwrap();
            let back: Bytes<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(&*back.0, bytes, "{text}");
        }
        for bad in [r#"{"hex":"f"}"#, r#"{"hex":"zz"}"#, r#"{"hex":"FF"}"#, "3", "[1]"] {
            assert!(serde_json::from_str::<Bytes<'_>>(bad).is_err(), "{bad}");
        }
    }
}
