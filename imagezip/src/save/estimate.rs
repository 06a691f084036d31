//! How large an image will be, before it is made.
//!
//! What it owns: a sample of what is to be saved, spread evenly over it, and what that compresses
//! to. What it never does: promise. Sixty-four places say little about a disk on which one half is
//! text and the other is packed already, if they are unlucky.

use super::SaveError;
use super::compress::Compressor;
use crate::disk::ReadDisk;
use crate::ndz::{CHUNK_SIZE, Codec, LEGACY_HEADER_AREA};
use crate::sector_set::SectorSet;
use crate::units::{SECTOR_SIZE, SectorCount, SectorRange};

/// Places that are looked at.
const PLACES: u64 = 64;

/// Sectors read at each place.
const PLACE_SECTORS: u64 = PLACE_BYTES / SECTOR_SIZE;
const PLACE_BYTES: u64 = 256 << 10;

/// About how many bytes an image of `ranges` will have. Reads 16 MiB at most; what cannot be read is
/// left out of the sample.
///
/// # Errors
/// When the compression library fails.
pub fn estimate(
    disk: &dyn ReadDisk,
    ranges: &SectorSet,
    codec: Codec,
    level: i32,
) -> Result<u64, SaveError> {
    let mut compressor = Compressor::new(codec, level)?;
    let (mut data, mut packed) = (Vec::new(), Vec::new());
    let (mut read, mut compressed) = (0u64, 0u64);
    for place in sample(ranges) {
        data.resize(usize::try_from(place.byte_len()).unwrap_or_default(), 0);
        if disk.read_at(&mut data, place.byte_offset()).is_err() {
            continue;
        }
        read += place.byte_len();
        // Zeros are not stored at all.
        if data.iter().any(|byte| *byte != 0) {
            packed.clear();
            compressor.append(&[], &data, &mut packed)?;
            compressed += u64::try_from(packed.len()).unwrap_or(u64::MAX);
        }
    }
    let kept = u128::from(ranges.count().bytes());
    let payload = kept * u128::from(compressed) / u128::from(read.max(1));
    let room = u128::from(CHUNK_SIZE) - u128::try_from(LEGACY_HEADER_AREA).unwrap_or(0);
    let chunks = u64::try_from(payload.div_ceil(room)).unwrap_or(u64::MAX).max(1);
    Ok(chunks.saturating_mul(CHUNK_SIZE))
}

/// Evenly spread runs of the set; all of it when it is small.
fn sample(ranges: &SectorSet) -> Vec<SectorRange> {
    let total = ranges.count().get();
    let (step, take) = match total / PLACES {
        step if step > PLACE_SECTORS => (step, PLACE_SECTORS),
        _ => (PLACE_SECTORS, PLACE_SECTORS),
    };
    let mut places = Vec::new();
    // Sectors of the set before `range`, and where the next place begins in that count.
    let (mut before, mut next) = (0, (step - take) / 2);
    for range in ranges.ranges() {
        let len = range.count().get();
        while next < before + len {
            let skip = SectorCount::new(next - before).unwrap_or_default();
            let (_, rest) = range.split_at(skip);
            let (place, _) = rest.split_at(SectorCount::new(take).unwrap_or_default());
            places.push(place);
            // A short range ends a place early; when all is taken the next begins behind it.
            next += if step == take { place.count().get() } else { step };
        }
        before += len;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;
    use crate::units::Sector;

    fn range(start: u32, end: u32) -> SectorRange {
        SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
    }

    #[test]
    fn small_sets_are_taken_whole_and_large_ones_in_even_places() {
        let small: SectorSet = [range(3, 700), range(900, 5000)].into_iter().collect();
        assert_eq!(sample(&small).into_iter().collect::<SectorSet>(), small);
        let large: SectorSet =
            [range(0, 2_000_000), range(4_000_000, 4_000_100), range(5_000_000, 9_000_000)]
                .into_iter()
                .collect();
        let places = sample(&large);
        assert!((63..=65).contains(&places.len()), "{}", places.len());
        let set: SectorSet = places.iter().copied().collect();
        assert!(set.difference(&large).is_empty());
        let first = places.iter().filter(|p| p.start().get() < 2_000_000).count();
        assert!((20..=22).contains(&first), "{first}");
        assert!(sample(&SectorSet::empty()).is_empty());
    }

    #[test]
    fn zeros_cost_nothing_text_little_and_noise_all() {
        let mut bytes = vec![0; 24 << 20];
        let mut state = 1u32;
        for (index, byte) in bytes.iter_mut().enumerate().take(16 << 20).skip(8 << 20) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = if index < 12 << 20 { 7 } else { state.to_be_bytes()[0] };
        }
        let disk = MemoryDisk::new(bytes);
        for codec in [Codec::Stored, Codec::Zlib, Codec::Zstd] {
            let mib = |from: u32, to: u32| {
                let set = SectorSet::from_range(range(from * 2048, to * 2048));
                estimate(&disk, &set, codec, 1).unwrap() >> 20
            };
            let (zeros, text, noise, all) = (mib(0, 8), mib(8, 12), mib(12, 16), mib(0, 24));
            assert_eq!(zeros, 1, "{codec}");
            assert!(text == 1 || codec == Codec::Stored, "{codec}: {text}");
            assert!((4..=5).contains(&noise), "{codec}: {noise}");
            let expected = if codec == Codec::Stored { 8..=9 } else { 4..=5 };
            assert!(expected.contains(&all), "{codec}: {all}");
        }
    }
}
