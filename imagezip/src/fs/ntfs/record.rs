//! File records and their attributes.
//!
//! What it owns: a verified record, and stepping through its attributes. What it never does: follow
//! an attribute out of the record.

use super::{fixup, raw};
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// The number of a record in a reference; above it stands a sequence number.
pub(super) const NUMBER_MASK: u64 = 0xFFFF_FFFF_FFFF;

/// A record whose update sequence is right.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its number in the MFT.
    pub(super) number: u64,
    /// Where it was read, for messages.
    pub(super) offset: u64,
    bytes: Vec<u8>,
}

/// An attribute of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    /// Its type.
    pub(super) kind: u32,
    /// Its name, in UTF-16.
    pub(super) name: &'a [u8],
    /// Its flags.
    pub(super) flags: u16,
    /// What it holds.
    pub(super) content: Content<'a>,
}

/// What an attribute holds, or a part of that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// All of it, in the record.
    Resident(&'a [u8]),
    /// Clusters.
    Mapped {
        /// The place of the first in the attribute.
        first_vcn: u64,
        /// The place of the last.
        last_vcn: u64,
        /// Length in bytes; only in the part that starts at 0.
        data_bytes: u64,
        /// What follows reads as zeros; only in the part that starts at 0.
        initialized_bytes: u64,
        /// The runs, encoded.
        pairs: &'a [u8],
    },
}

impl Record {
    /// Verifies the bytes of a record that stood at a byte offset.
    pub(super) fn parse(number: u64, offset: u64, mut bytes: Vec<u8>) -> Result<Self, Refusal> {
        let found = fixup::restore(&mut bytes, &[*b"FILE"]);
        let record = Self { number, offset, bytes };
        found.map_err(|found| record.corrupt("a whole record marked FILE", found))?;
        let header = record.header()?;
        let in_use = usize::try_from(header.bytes_in_use.get()).unwrap_or(usize::MAX);
        if header.flags.get() & raw::RECORD_IN_USE == 0 || in_use > record.bytes.len() {
            let found = format!("flags {:#x}, {in_use} bytes", header.flags);
            return Err(record.corrupt("a record in use", found));
        }
        Ok(record)
    }

    fn header(&self) -> Result<raw::RecordHeader, Refusal> {
        let header = raw::RecordHeader::read_from_prefix(&self.bytes);
        header.map(|(header, _)| header).map_err(|_| self.corrupt("a record", "less".into()))
    }

    /// How often the record was used for another file.
    pub(super) fn sequence_number(&self) -> Result<u16, Refusal> {
        Ok(self.header()?.sequence_number.get())
    }

    /// The record that this one extends; 0 for none.
    pub(super) fn base(&self) -> Result<u64, Refusal> {
        Ok(self.header()?.base_record.get() & NUMBER_MASK)
    }

    /// The part that is in use, without the update sequence, which two copies need not share.
    pub(super) fn meaning(&self) -> Result<Vec<u8>, Refusal> {
        let header = self.header()?;
        let in_use = usize::try_from(header.bytes_in_use.get()).unwrap_or(usize::MAX);
        let mut bytes = self.bytes.get(..in_use).unwrap_or(&self.bytes).to_vec();
        let start = usize::from(header.protected.usa_offset.get());
        let end = start + 2 * usize::from(header.protected.usa_count.get());
        bytes.get_mut(start..end).unwrap_or_default().fill(0);
        Ok(bytes)
    }

    /// A contradiction in this record.
    pub(super) fn corrupt(&self, expected: impl Into<String>, found: String) -> Refusal {
        Refusal::corrupt(format!("MFT record {}", self.number), self.offset, expected, found)
    }

    /// All attributes, in the order of their types.
    pub(super) fn attributes(&self) -> Result<Vec<Attribute<'_>>, Refusal> {
        let mut found = Vec::new();
        let mut at = usize::from(self.header()?.attributes_offset.get());
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let kind = rest.first_chunk().map(|kind| u32::from_le_bytes(*kind));
            if kind == Some(raw::END) {
                return Ok(found);
            }
            let attribute = attribute(rest);
            let (attribute, len) = attribute
                .ok_or_else(|| self.corrupt("whole attributes", format!("another at byte {at}")))?;
            found.push(attribute);
            at += len;
        }
    }

    /// The first attribute of a type without a name that stands in the record.
    pub(super) fn resident(&self, kind: u32) -> Result<Option<&[u8]>, Refusal> {
        let attributes = self.attributes()?;
        let value = attributes.into_iter().find(|a| a.kind == kind && a.name.is_empty());
        Ok(value.and_then(|attribute| match attribute.content {
            Content::Resident(value) => Some(value),
            Content::Mapped { .. } => None,
        }))
    }
}

/// The attribute at the start of `rest`, and its length, which is never 0.
fn attribute(rest: &[u8]) -> Option<(Attribute<'_>, usize)> {
    let (header, _) = raw::AttributeHeader::ref_from_prefix(rest).ok()?;
    let len = usize::try_from(header.length.get()).ok()?;
    if len < 24 || len % 8 != 0 {
        return None;
    }
    let bytes = rest.get(..len)?;
    let name_start = usize::from(header.name_offset.get());
    let name = bytes.get(name_start..name_start + 2 * usize::from(header.name_length));
    let body = bytes.get(16..)?;
    let content = if header.non_resident == 0 {
        let (resident, _) = raw::Resident::ref_from_prefix(body).ok()?;
        let start = usize::from(resident.value_offset.get());
        let end = start.checked_add(usize::try_from(resident.value_length.get()).ok()?)?;
        Content::Resident(bytes.get(start..end)?)
    } else {
        let (mapped, _) = raw::NonResident::ref_from_prefix(body).ok()?;
        Content::Mapped {
            first_vcn: mapped.first_vcn.get(),
            last_vcn: mapped.last_vcn.get(),
            data_bytes: mapped.data_bytes.get(),
            initialized_bytes: mapped.initialized_bytes.get(),
            pairs: bytes.get(usize::from(mapped.runs_offset.get())..)?,
        }
    };
    let name = if header.name_length == 0 { &[] } else { name? };
    Some((Attribute { kind: header.kind.get(), name, flags: header.flags.get(), content }, len))
}
