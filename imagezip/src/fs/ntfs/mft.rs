//! The master file table: records by number, and whole attributes of a file.
//!
//! What it owns: finding the table's own pieces, attribute lists, and putting an attribute together
//! that is spread over several records. What it never does: search for files by name.

use super::boot::Geometry;
use super::raw;
use super::record::{Attribute, Content, NUMBER_MASK, Record};
use super::runs::Runs;
use crate::disk::ReadDisk;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Windows lets no attribute list grow longer.
const LIST_BYTES_MAX: u64 = 256 << 10;

/// `$I30`, the name of the attributes of a directory.
const INDEX_NAME: &[u8] = &[b'$', 0, b'I', 0, b'3', 0, b'0', 0];

/// The attribute of a file that is asked for: its content, or its directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    kind: u32,
    name: &'static [u8],
    /// For messages.
    text: &'static str,
}

/// The content of a file.
pub(super) const DATA: Wanted = Wanted { kind: raw::DATA, name: &[], text: "$DATA" };
/// The root of the tree of a directory.
pub(super) const INDEX_ROOT: Wanted =
    Wanted { kind: raw::INDEX_ROOT, name: INDEX_NAME, text: "$INDEX_ROOT" };
/// The other nodes of that tree.
pub(super) const INDEX_ALLOCATION: Wanted =
    Wanted { kind: raw::INDEX_ALLOCATION, name: INDEX_NAME, text: "$INDEX_ALLOCATION" };

/// A whole attribute.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Held in a record.
    Resident(Vec<u8>),
    /// Held in clusters.
    Mapped(Mapped),
}

/// An attribute in clusters.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    /// Where it stands.
    pub(super) runs: Runs,
    /// Its length in bytes, which the runs hold for certain.
    pub(super) bytes: u64,
    /// From here on it reads as zeros.
    pub(super) initialized_bytes: u64,
    /// Compressed or encrypted: its bytes mean nothing here.
    pub(super) encoded: bool,
}

/// The table.
pub(super) struct Mft<'a> {
    disk: &'a dyn ReadDisk,
    geometry: &'a Geometry,
    runs: Runs,
    /// Records in it.
    records: u64,
}

impl<'a> Mft<'a> {
    /// Finds the table by its record 0, which may name other records that hold the rest.
    pub(super) fn open(disk: &'a dyn ReadDisk, geometry: &'a Geometry) -> Result<Self, Refusal> {
        let offset = geometry.offset(geometry.mft_cluster);
        let mut bytes = vec![0; usize::try_from(geometry.record_bytes).unwrap_or_default()];
        if offset.saturating_add(geometry.record_bytes) > disk.size_bytes() {
            return Err(Refusal::corrupt("place of the MFT", 0, "inside the volume", "outside"));
        }
        disk.read_at(&mut bytes, offset)?;
        let record = Record::parse(0, offset, bytes)?;
        let mut mft = Self { disk, geometry, runs: Runs::default(), records: 0 };
        // The first piece leads to the records that describe the next ones.
        let first = record.attributes()?.into_iter().find(|a| is(a, DATA));
        let Some(Attribute {
            content: Content::Mapped { first_vcn: 0, data_bytes, pairs, .. },
            ..
        }) = first
        else {
            return Err(record.corrupt("a $DATA with clusters", "none".into()));
        };
        mft.runs
            .append(pairs, geometry.clusters)
            .map_err(|found| record.corrupt("runs in the volume", found))?;
        mft.records = data_bytes / geometry.record_bytes;
        let starts = mft.runs.list().first().and_then(|run| run.cluster);
        if starts != Some(geometry.mft_cluster) {
            let expected = format!("a $DATA that starts at cluster {}", geometry.mft_cluster);
            return Err(record.corrupt(expected, format!("{starts:?}")));
        }
        match mft.value_of(&record, DATA)? {
            Some(Value::Mapped(whole)) if !whole.encoded => mft.runs = whole.runs,
            _ => return Err(record.corrupt("a plain $DATA with clusters", "another".into())),
        }
        Ok(mft)
    }

    /// The clusters of the table.
    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The record with this number.
    pub(super) fn record(&self, number: u64) -> Result<Record, Refusal> {
        let bytes_each = self.geometry.record_bytes;
        let at = number.saturating_mul(bytes_each);
        let cluster_bytes = self.geometry.cluster_bytes;
        let after = self.runs.list().partition_point(|run| run.vcn <= at / cluster_bytes);
        let run = after.checked_sub(1).and_then(|i| self.runs.list().get(i));
        let offset = run.and_then(|run| {
            let into = at.saturating_sub(run.vcn.saturating_mul(cluster_bytes));
            Some(self.geometry.offset(run.cluster?).saturating_add(into))
        });
        let mut bytes = vec![0; usize::try_from(bytes_each).unwrap_or_default()];
        let (true, Some(offset)) = (number < self.records, offset) else {
            return Err(outside(number));
        };
        if !self.runs.read(self.disk, self.geometry, &mut bytes, at)? {
            return Err(outside(number));
        }
        Record::parse(number, offset, bytes)
    }

    /// A whole attribute of the file with this base record; `None` when it has none.
    pub(super) fn value_of(&self, base: &Record, wanted: Wanted) -> Result<Option<Value>, Refusal> {
        let list = base.attributes()?.into_iter().find(|a| a.kind == raw::ATTRIBUTE_LIST);
        let Some(list) = list else {
            return self.assemble(base, wanted, std::slice::from_ref(base));
        };
        let mut records = Vec::new();
        for number in self.records_of(base, &list, wanted)? {
            if number == base.number {
                records.push(base.clone());
                continue;
            }
            let record = self.record(number)?;
            if record.base()? != base.number {
                let expected = format!("an extension of record {}", base.number);
                return Err(record.corrupt(expected, format!("of record {}", record.base()?)));
            }
            records.push(record);
        }
        self.assemble(base, wanted, &records)
    }

    /// The records that the list names for an attribute, in the order of its pieces.
    fn records_of(
        &self,
        base: &Record,
        list: &Attribute<'_>,
        wanted: Wanted,
    ) -> Result<Vec<u64>, Refusal> {
        let bytes = match list.content {
            Content::Resident(bytes) => bytes.to_vec(),
            Content::Mapped { data_bytes, pairs, .. } => {
                if data_bytes > LIST_BYTES_MAX {
                    let expected = format!("at most {LIST_BYTES_MAX} bytes of attribute list");
                    return Err(base.corrupt(expected, data_bytes.to_string()));
                }
                let mut runs = Runs::default();
                runs.append(pairs, self.geometry.clusters)
                    .map_err(|found| base.corrupt("runs in the volume", found))?;
                let mut bytes = vec![0; usize::try_from(data_bytes).unwrap_or_default()];
                if !runs.read(self.disk, self.geometry, &mut bytes, 0)? {
                    return Err(base.corrupt("all of its attribute list", "less".into()));
                }
                bytes
            }
        };
        let mut numbers = Vec::new();
        let mut rest = bytes.as_slice();
        while let Ok((entry, _)) = raw::ListEntry::read_from_prefix(rest) {
            let len = usize::from(entry.length.get());
            let start = usize::from(entry.name_offset);
            let name = rest.get(start..start + 2 * usize::from(entry.name_length));
            let (Some(name), Some(next), true) = (name, rest.get(len..), len >= 26) else {
                let found = format!("an entry of {len} bytes");
                return Err(base.corrupt("whole entries in its attribute list", found));
            };
            let kind = entry.kind.get();
            let number = entry.record.get() & NUMBER_MASK;
            let name = if entry.name_length == 0 { &[] } else { name };
            // Several pieces of an attribute may stand in one record.
            if kind == wanted.kind && name == wanted.name && numbers.last() != Some(&number) {
                numbers.push(number);
            }
            rest = next;
        }
        Ok(numbers)
    }

    /// Puts together the pieces of an attribute that stand in these records.
    fn assemble(
        &self,
        base: &Record,
        wanted: Wanted,
        records: &[Record],
    ) -> Result<Option<Value>, Refusal> {
        let mut whole: Option<Mapped> = None;
        for record in records {
            for attribute in record.attributes()?.into_iter().filter(|a| is(a, wanted)) {
                let (first, last, bytes, initialized, pairs) = match attribute.content {
                    Content::Resident(value) => return Ok(Some(Value::Resident(value.to_vec()))),
                    Content::Mapped {
                        first_vcn,
                        last_vcn,
                        data_bytes,
                        initialized_bytes,
                        pairs,
                    } => (first_vcn, last_vcn, data_bytes, initialized_bytes, pairs),
                };
                let mapped = whole.get_or_insert_with(|| Mapped {
                    runs: Runs::default(),
                    bytes,
                    initialized_bytes: initialized,
                    encoded: attribute.flags & raw::COMPRESSED_OR_ENCRYPTED != 0,
                });
                let start = mapped.runs.clusters;
                if first != start {
                    let expected = format!("the piece of {} from cluster {start}", wanted.text);
                    return Err(record.corrupt(expected, format!("from {first}")));
                }
                mapped
                    .runs
                    .append(pairs, self.geometry.clusters)
                    .map_err(|found| record.corrupt("runs in the volume", found))?;
                // An empty attribute says that its last cluster is -1.
                if mapped.runs.clusters != last.wrapping_add(1) {
                    let expected = format!("runs of {} up to cluster {last}", wanted.text);
                    return Err(record.corrupt(expected, mapped.runs.clusters.to_string()));
                }
            }
        }
        if let Some(mapped) = &whole {
            let held = mapped.runs.clusters.saturating_mul(self.geometry.cluster_bytes);
            if mapped.bytes > held || mapped.initialized_bytes > mapped.bytes {
                let expected = format!("clusters for {} bytes of {}", mapped.bytes, wanted.text);
                return Err(base.corrupt(expected, format!("{held} bytes")));
            }
        }
        Ok(whole.map(Value::Mapped))
    }

    /// The content of a file that must be in clusters and plain.
    pub(super) fn plain_data(&self, base: &Record) -> Result<Mapped, Refusal> {
        match self.value_of(base, DATA)? {
            Some(Value::Mapped(mapped)) if !mapped.encoded => Ok(mapped),
            _ => Err(base.corrupt("a plain $DATA with clusters", "another".into())),
        }
    }

    /// Fills `buf` from the start of an attribute as far as it goes; the bytes it has.
    pub(super) fn read_start(&self, value: &Value, buf: &mut [u8]) -> Result<usize, Refusal> {
        match value {
            Value::Resident(bytes) => {
                buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                Ok(bytes.len().min(buf.len()))
            }
            Value::Mapped(mapped) => {
                let len = usize::try_from(mapped.initialized_bytes).unwrap_or(usize::MAX);
                let len = len.min(buf.len());
                let part = buf.get_mut(..len).unwrap_or_default();
                let whole = mapped.runs.read(self.disk, self.geometry, part, 0)?;
                Ok(if whole { len } else { 0 })
            }
        }
    }
}

fn is(attribute: &Attribute<'_>, wanted: Wanted) -> bool {
    attribute.kind == wanted.kind && attribute.name == wanted.name
}

fn outside(number: u64) -> Refusal {
    let expected = format!("a record {number}");
    Refusal::corrupt("MFT", 0, expected, "an end before it, or a hole")
}
