//! The datagrams of a test.
//!
//! ```text
//! 0 "FTST"   4 nonce, 8 bytes   12 sequence number, u32, network order   16 zeros up to the length
//! ```
//! What it owns: these bytes, both ways. What it never does: trust a datagram without the nonce,
//! which only the server and the client that asked know.

/// What every test datagram begins with.
const MAGIC: [u8; 4] = *b"FTST";

/// Bytes that a test datagram has at least.
pub const DATAGRAM_LEN_MIN: usize = 16;

/// What is in a test datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TestDatagram {
    /// Which test it belongs to.
    pub nonce: [u8; 8],
    /// Its number, from 0.
    pub sequence: u32,
}

impl TestDatagram {
    /// Reads one; `None` when it is something else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (nonce, rest) = rest.split_first_chunk::<8>()?;
        let sequence = rest.first_chunk::<4>()?;
        let read = Self { nonce: *nonce, sequence: u32::from_be_bytes(*sequence) };
        (*magic == MAGIC).then_some(read)
    }

    /// Writes it over the beginning of a buffer, which must have [`DATAGRAM_LEN_MIN`] bytes; false
    /// and nothing written when it has not.
    pub fn write(&self, buffer: &mut [u8]) -> bool {
        let Some(head) = buffer.first_chunk_mut::<DATAGRAM_LEN_MIN>() else { return false };
        let all = MAGIC.into_iter().chain(self.nonce).chain(self.sequence.to_be_bytes());
        for (place, byte) in head.iter_mut().zip(all) {
            *place = byte;
        }
        true
    }
}

/// A nonce as it travels in a reply: 16 hexadecimal digits.
pub(crate) fn nonce_text(nonce: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(nonce))
}

/// Reads a nonce from its text; `None` when it is none.
pub(crate) fn parse_nonce(text: &str) -> Option<[u8; 8]> {
    let hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = if hexadecimal { u64::from_str_radix(text, 16).ok() } else { None };
    number.map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_these() {
        let datagram = TestDatagram { nonce: *b"abcdefgh", sequence: 0x0102_0304 };
        let mut buffer = [0; 18];
        assert!(datagram.write(&mut buffer));
        assert_eq!(&buffer, b"FTSTabcdefgh\x01\x02\x03\x04\0\0");
        assert_eq!(TestDatagram::parse(&buffer), Some(datagram));
        assert!(!datagram.write(&mut buffer[..15]));
        for len in 0..16 {
            assert_eq!(TestDatagram::parse(&buffer[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn nonces_and_datagrams_go_both_ways(nonce: [u8; 8], sequence: u32, other in ".*") {
            prop_assert_eq!(parse_nonce(&nonce_text(nonce)), Some(nonce));
            let mut buffer = [0; 16];
            let datagram = TestDatagram { nonce, sequence };
            prop_assert!(datagram.write(&mut buffer));
            prop_assert_eq!(TestDatagram::parse(&buffer), Some(datagram));
            let _ = parse_nonce(&other);
        }
    }
}
