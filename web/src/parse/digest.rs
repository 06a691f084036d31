//! Digests that a sender expects: the `Content-Digest` header (RFC 9530) and `?blake3=`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Digests that a sender told. BLAKE3 has no registered name; we call it `blake3`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-512.
    pub sha512: Option<[u8; 64]>,
    /// BLAKE3.
    pub blake3: Option<[u8; 32]>,
}

/// Why a digest cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DigestError {
    /// Not of the form `name=:base64:`.
    #[error("the Content-Digest header is not of the form `sha-256=:BASE64:`")]
    Form,
    /// Not base64, or of another length.
    #[error("the digest {0} in the Content-Digest header is not {1} bytes in base64")]
    Value(&'static str, usize),
    /// Not 64 hexadecimal digits.
    #[error("the BLAKE3 digest is not 64 hexadecimal digits")]
    Hexadecimal,
}

/// Reads the header. Algorithms that we do not know are ignored, as the RFC wants.
///
/// # Errors
/// When the header is malformed, or a digest that we know is.
pub fn content_digest(header: &str) -> Result<Digests, DigestError> {
    let mut digests = Digests::default();
    for member in header.split(',') {
        let (name, value) = member.trim().split_once('=').ok_or(DigestError::Form)?;
        let value = value.strip_prefix(':').ok_or(DigestError::Form)?;
        let (value, parameters) = value.split_once(':').ok_or(DigestError::Form)?;
        if !parameters.trim().is_empty() && !parameters.trim_start().starts_with(';') {
            return Err(DigestError::Form);
        }
        match name {
            "sha-256" => digests.sha256 = Some(bytes("sha-256", value)?),
            "sha-512" => digests.sha512 = Some(bytes("sha-512", value)?),
            "blake3" => digests.blake3 = Some(bytes("blake3", value)?),
            _ => {}
        }
    }
    Ok(digests)
}

fn bytes<const N: usize>(name: &'static str, text: &str) -> Result<[u8; N], DigestError> {
    // Longer texts cannot be right, and are not worth decoding.
    let decoded = (text.len() <= N * 2).then(|| STANDARD.decode(text).ok()).flatten();
    decoded.and_then(|bytes| bytes.try_into().ok()).ok_or(DigestError::Value(name, N))
}

/// Reads a BLAKE3 digest in hexadecimal digits.
///
/// # Errors
/// When it is none.
pub fn blake3_digest(text: &str) -> Result<[u8; 32], DigestError> {
    let mut digest = [0; 32];
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    for byte in &mut digest {
        let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
            return Err(DigestError::Hexadecimal);
        };
        *byte = u8::try_from(high << 4 | low).map_err(|_| DigestError::Hexadecimal)?;
    }
    match digits.next() {
        Some(_) => Err(DigestError::Hexadecimal),
        None => Ok(digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the RFC, appendix D: `{"hello": "world"}\n`.
    const EXAMPLE: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let digests = content_digest(EXAMPLE).unwrap();
        assert_eq!(digests.sha256.unwrap()[..4], [0x44, 0xaf, 0xf4, 0xab]);
        let with_others = format!("crc32c=:AAAAAA==:;x=1, {EXAMPLE} ;y");
        assert_eq!(content_digest(&with_others).unwrap(), digests);
    }

    #[test]
    fn malformed_digests_are_told_apart() {
        for header in ["", "sha-256", "sha-256=abc", "sha-256=:abc", "sha-256=:abc:x", ","] {
            assert_eq!(content_digest(header), Err(DigestError::Form), "{header}");
        }
        for header in ["sha-256=::", "sha-256=:????:", "sha-256=:AAAA:"] {
            assert_eq!(content_digest(header), Err(DigestError::Value("sha-256", 32)));
        }
        let long = format!("sha-512=:{}:", "A".repeat(4096));
        assert_eq!(content_digest(&long), Err(DigestError::Value("sha-512", 64)));
    }

    #[test]
    fn blake3_in_hexadecimal() {
        let text = "00ff".repeat(16);
        let digest = blake3_digest(&text).unwrap();
        assert_eq!((digest[0], digest[1], digest[31]), (0, 255, 255));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(blake3_digest(bad), Err(DigestError::Hexadecimal), "{bad}");
        }
    }
}
