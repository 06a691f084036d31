//! Bitmaps as filesystems store them: bit 0 is the lowest bit of byte 0.
//!
//! What it owns: counting and finding runs of ones, a 64-bit word at a time. What it never does:
//! look at a bit at or after the length it was given.

/// The words of a bitmap, every bit from `bits` on cleared; a bitmap that is too short ends early.
fn words(bitmap: &[u8], bits: u64) -> impl Iterator<Item = u64> + '_ {
    let (whole, rest) = bitmap.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let last = (!rest.is_empty()).then_some(u64::from_le_bytes(last));
    let words = whole.iter().map(|bytes| u64::from_le_bytes(*bytes)).chain(last);
    let mut left = bits;
    words.map_while(move |word| {
        let mask = match left {
            0 => return None,
            1..64 => (1 << left) - 1,
            _ => u64::MAX,
        };
        left = left.saturating_sub(64);
        Some(word & mask)
    })
}

/// Ones among the first `bits` bits.
pub(crate) fn count_ones(bitmap: &[u8], bits: u64) -> u64 {
    words(bitmap, bits).map(|word| u64::from(word.count_ones())).sum()
}

/// Calls `found` with the first and one-past-last bit of every run of ones among the first `bits`
/// bits, in ascending order.
pub(crate) fn for_each_run(bitmap: &[u8], bits: u64, mut found: impl FnMut(u64, u64)) {
    let mut base = 0u64;
    let mut open: Option<u64> = None;
    for word in words(bitmap, bits) {
        let mut at = 0u32;
        while at < 64 {
            let rest = word >> at;
            match open {
                None if rest == 0 => break,
                None => {
                    at += rest.trailing_zeros();
                    open = Some(base + u64::from(at));
                }
                Some(start) => {
                    at += rest.trailing_ones();
                    if at < 64 {
                        found(start, base + u64::from(at));
                        open = None;
                    }
                }
            }
        }
        base += 64;
    }
    if let Some(start) = open {
        found(start, base.min(bits));
    }
}

/// Sets the bits from `start` up to, not including, `end`; bits past the bitmap are left out.
pub(crate) fn set_bits(bitmap: &mut [u8], start: u64, end: u64) {
    let first = usize::try_from(start / 8).unwrap_or(usize::MAX);
    let bytes = usize::try_from(end.div_ceil(8)).unwrap_or(usize::MAX).saturating_sub(first);
    let mut bit = start / 8 * 8;
    for byte in bitmap.iter_mut().skip(first).take(bytes) {
        let low = start.saturating_sub(bit).min(8);
        let high = end.saturating_sub(bit).min(8);
        let ones_below = |n: u64| (1u16 << n).wrapping_sub(1).to_le_bytes()[0];
        *byte |= ones_below(high) & !ones_below(low);
        bit += 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bitmap: &[u8], i: u64) -> bool {
        bitmap.get(usize::try_from(i / 8).unwrap()).is_some_and(|b| b >> (i % 8) & 1 == 1)
    }

    proptest! {
        #[test]
        fn runs_agree_with_single_bits(
            bitmap in prop::collection::vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 0..70),
            cut in 0u64..80,
        ) {
            let all = u64::try_from(bitmap.len()).unwrap() * 8;
            let bits = all.saturating_sub(cut);
            let mut seen = vec![false; usize::try_from(bits).unwrap()];
            let mut last_end = None;
            for_each_run(&bitmap, bits, |start, end| {
                assert!(start < end && last_end.is_none_or(|last| last < start));
                last_end = Some(end);
                (start..end).for_each(|i| seen[usize::try_from(i).unwrap()] = true);
            });
            let expected: Vec<bool> = (0..bits).map(|i| bit(&bitmap, i)).collect();
            let ones = expected.iter().filter(|b| **b).count();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(count_ones(&bitmap, bits), u64::try_from(ones).unwrap());
        }

        #[test]
        fn set_bits_sets_these_and_no_others(start in 0u64..200, len in 0u64..100) {
            let mut bitmap = vec![0u8; 30];
            set_bits(&mut bitmap, start, start + len);
            for i in 0..240 {
                prop_assert_eq!(bit(&bitmap, i), start <= i && i < start + len);
            }
        }
    }
}
