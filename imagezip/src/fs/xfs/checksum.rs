//! The checksum of version 5 metadata.

/// CRC-32C of a structure with its own checksum field, four bytes at `field`, taken as zero.
pub(super) fn of(bytes: &[u8], field: usize) -> u32 {
    let (before, rest) = bytes.split_at_checked(field).unwrap_or((bytes, &[]));
    let sum = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    crc32c::crc32c_append(sum, rest.get(4..).unwrap_or_default())
}
