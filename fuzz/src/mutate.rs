//! Small changes to bytes, decided by a seed.

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Mutator(u64);

/// Numbers on which sums, products and comparisons go wrong.
const INTERESTING: [u64; 14] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

impl Mutator {
    /// The mutator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// A place: as often as not among the first bytes, where headers are.
    fn place(&mut self, len: usize) -> usize {
        match self.below(4) {
            0 => self.below(len),
            1 => self.below(len.min(65_536)),
            2 => self.below(len.min(4_096)),
            _ => self.below(len.min(512)),
        }
    }

    /// Changes `bytes` in one to eight places.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(8) {
            if bytes.is_empty() {
                bytes.push(0);
            }
            let at = self.place(bytes.len());
            match self.below(8) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next().to_le_bytes()[0],
                2..=4 => {
                    let width = 1 << self.below(4);
                    let number = INTERESTING[self.below(INTERESTING.len())].to_le_bytes();
                    let at = at / width * width;
                    let room = &mut bytes[at..];
                    room.iter_mut().zip(&number[..width]).for_each(|(to, byte)| *to = *byte);
                }
                5 => bytes[at] = bytes[at].wrapping_add(1),
                6 => {
                    let (from, len) = (self.place(bytes.len()), 1 + self.below(64));
                    let copy = bytes[from..(from + len).min(bytes.len())].to_vec();
                    bytes[at..].iter_mut().zip(copy).for_each(|(to, byte)| *to = byte);
                }
                _ if self.below(8) == 0 => bytes.truncate(at),
                _ => bytes[at] = bytes[at].wrapping_sub(1),
            }
        }
    }
}
