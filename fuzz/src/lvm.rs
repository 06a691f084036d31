//! LVM2: checksums would stop every changed byte at the door, so the target makes them right.

use crate::targets;

/// Where the label is.
const LABEL: usize = 512;
/// Where the metadata area is, and how long.
const AREA: usize = 4096;
const AREA_LEN: usize = 8192;

/// The checksum of lvm2, bit by bit.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = 0xF597_A6CFu32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    crc.to_le_bytes()
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

fn number(bytes: &[u8], at: usize) -> usize {
    let number = bytes[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Makes the checksums of label, area and text right, if they are where the seeds have them.
fn seal(volume: &mut [u8]) {
    let sum = checksum(&volume[LABEL + 20..LABEL + 512]);
    put(volume, LABEL + 16, &sum);
    let (at, len) = (number(volume, AREA + 40), number(volume, AREA + 48));
    let ring = &volume[AREA + 512..AREA + AREA_LEN];
    if (512..AREA_LEN).contains(&at) && len <= ring.len() {
        let text: Vec<u8> = ring.iter().cycle().skip(at - 512).take(len).copied().collect();
        put(volume, AREA + 56, &checksum(&text));
    }
    let sum = checksum(&volume[AREA + 4..AREA + 512]);
    put(volume, AREA, &sum);
}

/// The start of a physical volume.
pub(crate) fn target(data: &[u8]) {
    let mut volume = data.to_vec();
    volume.resize(volume.len().max(AREA + AREA_LEN), 0);
    seal(&mut volume);
    targets::filesystem(&volume);
}

/// Volumes of all the forms that are told apart.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "a { S segment_count = 1 segment1 { start_extent = 0 extent_count = 4 type = \"striped\"\n\
         stripe_count = 1 stripes = [ \"pv0\", 2 ] } }",
        "a { S segment_count = 2 segment1 { start_extent = 0 extent_count = 4 type = \"striped\"\n\
         stripe_count = 2 stripe_size = 8 stripes = [ \"pv0\", 2, \"pv0\", 9 ] }\n\
         segment2 { start_extent = 4 extent_count = 1 type = \"striped\" stripe_count = 1\n\
         stripes = [ \"pv1\", 0 ] } } # comment\n",
        "p { S segment_count = 1 segment1 { start_extent = 0 extent_count = 2 type = \"thin-pool\"\n\
         metadata = \"m\" pool = \"d\" } }\n\
         m { S segment_count = 1 segment1 { start_extent = 0 extent_count = 1 type = \"mirror\"\n\
         mirrors = [ \"pv0\", 0, \"d\", 0 ] } }\n\
         d { S segment_count = 1 segment1 { start_extent = 0 extent_count = 2 type = \"raid1\"\n\
         raids = [ \"x\", \"y\" ] } }",
    ]
    .into_iter()
    .map(volume)
    .collect()
}

fn volume(volumes: &str) -> Vec<u8> {
    let status = "id = \"x\" status = [\"READ\", \"WRITE\", \"VISIBLE\"] flags = []";
    let text = format!(
        "vg {{ id = \"g\" seqno = 3 format = \"lvm2\" status = [\"READ\", \"RESIZEABLE\"]\n\
         extent_size = 2048 physical_volumes {{\n\
         pv0 {{ id = \"aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa\" status = [\"ALLOCATABLE\"]\n\
         dev_size = 81920 pe_start = 2048 pe_count = 30 }}\n\
         pv1 {{ id = \"b\" status = [] pe_start = 2048 pe_count = 9 }} }}\n\
         logical_volumes {{ {} }} }}\n\
         contents = \"Text Format Volume Group\" version = 1\n",
        volumes.replace(" S ", &format!(" {status} "))
    );
    let mut bytes = vec![0; AREA + AREA_LEN];
    put(&mut bytes, LABEL, b"LABELONE\x01");
    put(&mut bytes, LABEL + 20, &32u32.to_le_bytes());
    put(&mut bytes, LABEL + 24, b"LVM2 001");
    put(&mut bytes, LABEL + 32, &[b'a'; 32]);
    put(&mut bytes, LABEL + 64, &(40u64 << 20).to_le_bytes());
    put(&mut bytes, LABEL + 72, &(1u64 << 20).to_le_bytes());
    put(&mut bytes, LABEL + 104, &4096u64.to_le_bytes());
    put(&mut bytes, LABEL + 112, &8192u64.to_le_bytes());
    put(&mut bytes, LABEL + 136, &[2, 0, 0, 0, 1]);
    put(&mut bytes, AREA + 4, b" LVM2 x[5A%r0N*>\x01");
    put(&mut bytes, AREA + 24, &4096u64.to_le_bytes());
    put(&mut bytes, AREA + 32, &8192u64.to_le_bytes());
    put(&mut bytes, AREA + 40, &512u64.to_le_bytes());
    put(&mut bytes, AREA + 48, &u64::try_from(text.len()).unwrap_or(0).to_le_bytes());
    put(&mut bytes, AREA + 512, text.as_bytes());
    seal(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use imagezip::disk::memory::MemoryDisk;
    use imagezip::fs::{Allocation, probe};

    /// A seed that is refused at the door would be of no use.
    #[test]
    fn seeds_are_understood() {
        for mut seed in super::seeds() {
            seed.resize(40 << 20, 0);
            let found = probe(&MemoryDisk::new(seed)).unwrap().unwrap();
            assert!(matches!(found.allocation, Allocation::Known(_)), "{:?}", found.allocation);
            assert!(!found.volumes.is_empty());
        }
    }
}
