//! Extensions behind the body of JOIN2, as type-length-value.
//!
//! Old peers accept a longer JOIN2 body and read only its start, so what new peers have to say
//! rides behind it: u16 type, u16 length, value, little-endian, back to back to the end of the
//! body. A reader skips types it does not know and stops at the first one that does not fit.
//! Whoever sends no extension is an old peer, and is served as one.

/// Bytes of extensions at most: a JOIN2 datagram must not exceed 1048 bytes, the size of a BLOCK
/// and of an old peer's receive buffer; 16 are the header's and 24 the body's.
pub const EXTENSIONS_LEN_MAX: usize = 1048 - 16 - 24;

const TYPE_FEATURES: u16 = 1;
const TYPE_IMAGE_ID: u16 = 2;
const TYPE_SERVER_RUN: u16 = 3;

/// One extension that this crate knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extension {
    /// Type 1, u32: a bit for each optional feature. No bit has a meaning yet; that the extension
    /// is there at all says "new peer". Unknown bits are ignored.
    Features(u32),
    /// Type 2, 16 bytes: what the server serves, in its replies. A client that joins again and
    /// finds another id refuses to mix two images.
    ImageId([u8; 16]),
    /// Type 3, u64: a number drawn when the server started, in its replies. A new number tells a
    /// client that the server has forgotten what was asked of it.
    ServerRun(u64),
}

/// The extensions of one JOIN2 message, as bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extensions<'a>(&'a [u8]);

/// The extensions of a JOIN2 message to be sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Announcement {
    /// See [`Extension::Features`].
    pub features: Option<u32>,
    /// See [`Extension::ImageId`].
    pub image_id: Option<[u8; 16]>,
    /// See [`Extension::ServerRun`].
    pub server_run: Option<u64>,
}

/// Bytes that an [`Announcement`] takes at most.
pub const ANNOUNCEMENT_LEN_MAX: usize = 8 + 20 + 12;

impl<'a> Extensions<'a> {
    /// The extensions in these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What is known of them, the last of each type.
    pub fn announcement(self) -> Announcement {
        let mut found = Announcement::default();
        let mut rest = self.0;
        while let Some((extension, tail)) = split(rest) {
            match extension {
                Some(Extension::Features(bits)) => found.features = Some(bits),
                Some(Extension::ImageId(id)) => found.image_id = Some(id),
                Some(Extension::ServerRun(run)) => found.server_run = Some(run),
                None => {}
            }
            rest = tail;
        }
        found
    }
}

impl Announcement {
    /// Writes the extensions and returns them; `buffer` only holds them.
    pub fn encode(self, buffer: &mut [u8; ANNOUNCEMENT_LEN_MAX]) -> Extensions<'_> {
        let features = self.features.map(u32::to_le_bytes);
        let server_run = self.server_run.map(u64::to_le_bytes);
        let parts: [(u16, Option<&[u8]>); 3] = [
            (TYPE_FEATURES, features.as_ref().map(|v| v.as_slice())),
            (TYPE_IMAGE_ID, self.image_id.as_ref().map(|v| v.as_slice())),
            (TYPE_SERVER_RUN, server_run.as_ref().map(|v| v.as_slice())),
        ];
        let mut len = 0;
        for (kind, value) in parts {
            let Some(value) = value else { continue };
            let value_len = u16::try_from(value.len()).unwrap_or(0).to_le_bytes();
            let bytes = kind.to_le_bytes().into_iter().chain(value_len);
            let bytes = bytes.chain(value.iter().copied());
            for (to, from) in buffer.iter_mut().skip(len).zip(bytes) {
                *to = from;
            }
            len += 4 + value.len();
        }
        Extensions(buffer.get(..len).unwrap_or(&[]))
    }
}

/// The first extension, `None` when its type is unknown or its length wrong, and what follows.
fn split(bytes: &[u8]) -> Option<(Option<Extension>, &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    let extension = match u16::from_le_bytes(*kind) {
        TYPE_FEATURES => value.try_into().ok().map(|v| Extension::Features(u32::from_le_bytes(v))),
        TYPE_IMAGE_ID => value.try_into().ok().map(Extension::ImageId),
        TYPE_SERVER_RUN => {
            value.try_into().ok().map(|v| Extension::ServerRun(u64::from_le_bytes(v)))
        }
        _ => None,
    };
    Some((extension, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_extensions_survive_among_unknown_ones() {
        let all =
            Announcement { features: Some(5), image_id: Some([7; 16]), server_run: Some(1 << 40) };
        let mut buffer = [0; ANNOUNCEMENT_LEN_MAX];
        let mut bytes = vec![0x99, 0x99, 3, 0, 1, 2, 3];
        bytes.extend(all.encode(&mut buffer).bytes());
        assert_eq!(Extensions::new(&bytes).announcement(), all);
        // A value of the wrong length and a tail that does not fit are skipped.
        bytes.extend([1, 0, 1, 0, 9, 2, 0, 16, 0, 1]);
        assert_eq!(Extensions::new(&bytes).announcement(), all);
        assert_eq!(Extensions::new(&[]).announcement(), Announcement::default());
        assert_eq!(Announcement::default().encode(&mut buffer).bytes(), &[] as &[u8]);
    }
}
