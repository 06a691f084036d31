//! Runs: where the content of an attribute stands on the disk.
//!
//! What it owns: decoding mapping pairs and reading through them. What it never does: keep a run
//! that leaves the volume, or more runs than a limit.

use super::boot::Geometry;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;

/// Runs of one attribute: far above any volume seen, 24 MiB of memory.
const RUNS_MAX: usize = 1 << 20;

/// Clusters one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Run {
    /// Their place in the attribute, in clusters.
    pub(super) vcn: u64,
    /// How many.
    pub(super) count: u64,
    /// Their place in the volume; `None` for a hole.
    pub(super) cluster: Option<u64>,
}

/// All runs of an attribute, without a gap from its start.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    list: Vec<Run>,
    /// Clusters so far.
    pub(super) clusters: u64,
}

impl Runs {
    /// Appends the runs that `pairs` encodes; why not, otherwise. A pair is a byte with the lengths
    /// of two numbers, then these: a count, and the signed distance to the place of the run before.
    pub(super) fn append(&mut self, pairs: &[u8], volume_clusters: u64) -> Result<(), String> {
        let mut rest = pairs;
        let mut place = 0i64;
        while let Some((lengths, tail)) = rest.split_first() {
            if *lengths == 0 {
                return Ok(());
            }
            let (count, tail) = number(tail, usize::from(lengths & 0xF))?;
            let (distance, tail) = number(tail, usize::from(lengths >> 4))?;
            rest = tail;
            let count = u64::try_from(count.unwrap_or(0)).unwrap_or(0);
            let cluster = match distance {
                None => None,
                Some(distance) => {
                    place = place.checked_add(distance).ok_or("a run before the volume")?;
                    Some(u64::try_from(place).map_err(|_| "a run before the volume")?)
                }
            };
            let end = cluster.unwrap_or(0).checked_add(count);
            let inside = end.is_some_and(|end| end <= volume_clusters);
            if count == 0 || (cluster.is_some() && !inside) {
                return Err(format!("a run of {count} clusters at {cluster:?}"));
            }
            if self.list.len() == RUNS_MAX {
                return Err(format!("more than {RUNS_MAX} runs"));
            }
            let vcn = self.clusters;
            self.clusters = vcn.checked_add(count).ok_or("too many clusters")?;
            self.list.push(Run { vcn, count, cluster });
        }
        Err("runs without an end".into())
    }

    /// The runs.
    pub(super) fn list(&self) -> &[Run] {
        &self.list
    }

    /// Fills `buf` from a byte offset of the attribute; holes are zeros, and false is returned when
    /// the runs end before.
    pub(super) fn read(
        &self,
        disk: &dyn ReadDisk,
        geometry: &Geometry,
        mut buf: &mut [u8],
        mut offset: u64,
    ) -> Result<bool, Refusal> {
        let cluster_bytes = geometry.cluster_bytes;
        while !buf.is_empty() {
            let vcn = offset / cluster_bytes;
            let after = self.list.partition_point(|run| run.vcn <= vcn);
            let Some(run) = after.checked_sub(1).and_then(|i| self.list.get(i)) else {
                return Ok(false);
            };
            let into = offset - run.vcn.saturating_mul(cluster_bytes);
            let left = run.count.saturating_mul(cluster_bytes).saturating_sub(into);
            if left == 0 {
                return Ok(false);
            }
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            let (now, later) = buf.split_at_mut(len);
            match run.cluster {
                Some(cluster) => {
                    disk.read_at(now, geometry.offset(cluster).saturating_add(into))?
                }
                None => now.fill(0),
            }
            buf = later;
            offset = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        }
        Ok(true)
    }
}

/// A little-endian signed number of so many bytes, and what follows it; `None` for no bytes.
fn number(bytes: &[u8], len: usize) -> Result<(Option<i64>, &[u8]), String> {
    if len > 8 {
        return Err(format!("a number of {len} bytes"));
    }
    let (digits, rest) = bytes.split_at_checked(len).ok_or("runs without an end")?;
    let Some(last) = digits.last() else {
        return Ok((None, rest));
    };
    let mut all = [if last & 0x80 != 0 { 0xFF } else { 0 }; 8];
    all.iter_mut().zip(digits).for_each(|(to, from)| *to = *from);
    Ok((Some(i64::from_le_bytes(all)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pairs: &[u8]) -> Result<Vec<(u64, u64, Option<u64>)>, String> {
        let mut runs = Runs::default();
        runs.append(pairs, 1000)?;
        Ok(runs.list().iter().map(|run| (run.vcn, run.count, run.cluster)).collect())
    }

    #[test]
    fn places_are_distances_and_holes_have_none() {
        let pairs = [0x11, 5, 100, 0x01, 3, 0x11, 2, 0xF6, 0x22, 4, 0, 0x2C, 1, 0];
        let expected = [(0, 5, Some(100)), (5, 3, None), (8, 2, Some(90)), (10, 4, Some(390))];
        assert_eq!(runs(&pairs).unwrap(), expected);
    }

    #[test]
    fn runs_outside_and_without_end_are_refused() {
        for pairs in [
            &[0x11, 5, 0xFF, 0][..],
            &[0x21, 5, 0xE4, 3, 0],
            &[0x11, 0, 5, 0],
            &[0x11, 0x80, 5, 0],
            &[0x10, 5, 0],
            &[0x11, 5],
            &[0x11, 5, 5],
            &[0x19, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 0],
            &[],
        ] {
            assert!(runs(pairs).is_err(), "{pairs:?}");
        }
    }
}
