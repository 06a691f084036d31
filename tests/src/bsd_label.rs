//! BSD disklabels, made and read by byte offsets.
//!
//! What it owns: its own knowledge of the layout (`sys/sys/disklabel.h`). It shares no code with
//! what it tests.

/// A partition of a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// `a` to `p`.
    pub letter: char,
    /// Sectors.
    pub size: u32,
    /// First sector, from wherever the label counts.
    pub offset: u32,
    /// 0 unused, 1 swap, 7 a BSD filesystem.
    pub kind: u8,
}

/// A partition by its numbers.
pub fn entry(letter: char, offset: u32, size: u32, kind: u8) -> Entry {
    Entry { letter, size, offset, kind }
}

const MAGIC: [u8; 4] = 0x8256_4557u32.to_le_bytes();

fn slot(letter: char) -> usize {
    148 + 16 * usize::from(u8::try_from(letter).unwrap() - b'a')
}

/// A label of FreeBSD: 8 partitions.
pub fn freebsd(entries: &[Entry]) -> Vec<u8> {
    label(entries, 8, |_| ())
}

/// A label of OpenBSD, which may use the sectors from `start` to `end`.
pub fn openbsd(entries: &[Entry], start: u32, end: u32) -> Vec<u8> {
    label(entries, 16, |bytes| {
        bytes[64..72].copy_from_slice(b"\x12\x34\x56\x78\x9a\xbc\xde\xf0");
        bytes[80..84].copy_from_slice(&start.to_le_bytes());
        bytes[84..88].copy_from_slice(&end.to_le_bytes());
        bytes[114] = 1;
    })
}

fn label(entries: &[Entry], count: u8, more: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..14].copy_from_slice(b"tested");
    bytes[40..44].copy_from_slice(&512u32.to_le_bytes());
    bytes[132..136].copy_from_slice(&MAGIC);
    bytes[138] = count;
    for entry in entries {
        let at = slot(entry.letter);
        bytes[at..at + 4].copy_from_slice(&entry.size.to_le_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&entry.offset.to_le_bytes());
        bytes[at + 12] = entry.kind;
    }
    more(&mut bytes);
    seal(&mut bytes);
    bytes
}

/// Makes the checksum right.
pub fn seal(bytes: &mut [u8]) {
    bytes[136..138].fill(0);
    let sum = checksum(bytes);
    bytes[136..138].copy_from_slice(&sum.to_le_bytes());
}

/// The 16-bit XOR of a label: 0 when it is sound.
pub fn checksum(bytes: &[u8]) -> u16 {
    let end = 148 + 16 * usize::from(bytes[138]);
    bytes[..end].chunks(2).fold(0, |sum, pair| sum ^ u16::from_le_bytes([pair[0], pair[1]]))
}

/// Offset and size of a partition of a label.
pub fn place(bytes: &[u8], letter: char) -> (u32, u32) {
    let at = slot(letter);
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(at + 4), number(at))
}
