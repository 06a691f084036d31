//! How much the store holds, compared with its quota.
//!
//! What it owns: the sum of what is there and what will be. An upload that announced its length
//! counts with all of it from the start, so that two uploads cannot both pass on the same room.

use crate::{ImageName, StoreError, UploadId};
use std::collections::HashMap;

/// What the store holds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Images, old images, broken and suspended uploads.
    kept: u64,
    /// What uploads under way take, or will take.
    active: HashMap<UploadId, Active>,
}

/// An upload under way.
#[derive(Clone, Copy, Debug)]
struct Active {
    bytes: u64,
    /// Bytes of the image that it will replace, which will then be gone.
    replaces: u64,
}

impl Ledger {
    /// Takes a new count of the store: bytes `kept`, and those of uploads, of which the suspended
    /// ones count as kept.
    pub(crate) fn set(&mut self, kept: u64, parts: &HashMap<UploadId, u64>) {
        let suspended = parts.iter().filter(|(id, _)| !self.active.contains_key(id));
        let suspended = suspended.fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        self.kept = kept.saturating_add(suspended);
    }

    /// An upload is under way from now on, and not among what is kept: count again after this.
    pub(crate) fn enter(&mut self, id: UploadId, replaces: u64) {
        self.active.insert(id, Active { bytes: 0, replaces });
    }

    /// An upload is `bytes` long now.
    pub(crate) fn grow(
        &mut self,
        id: UploadId,
        name: &ImageName,
        bytes: u64,
        quota: Option<u64>,
    ) -> Result<(), StoreError> {
        let Some(quota_bytes) = quota else { return Ok(()) };
        let Some(own) = self.active.get(&id).copied() else { return Ok(()) };
        if bytes <= own.bytes {
            return Ok(());
        }
        let others = self.active.iter().filter(|(other, _)| **other != id);
        let others = others.fold(0_u64, |sum, (_, active)| sum.saturating_add(active.bytes));
        let used_bytes = self.kept.saturating_sub(own.replaces).saturating_add(others);
        if used_bytes.saturating_add(bytes) > quota_bytes {
            let (name, needed_bytes) = (name.clone(), bytes);
            return Err(StoreError::Quota { name, needed_bytes, used_bytes, quota_bytes });
        }
        self.active.insert(id, Active { bytes, ..own });
        Ok(())
    }

    /// An upload is no longer under way.
    pub(crate) fn end(&mut self, id: UploadId) {
        self.active.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_uploads_cannot_pass_on_the_same_room() {
        let name = ImageName::parse("a").unwrap();
        let (one, two) = (UploadId::random(), UploadId::random());
        let mut ledger = Ledger::default();
        ledger.set(50, &HashMap::from([(one, 7)]));
        let quota = Some(100);
        assert_eq!(ledger.kept, 57);
        ledger.enter(one, 0);
        ledger.set(50, &HashMap::from([(one, 7)]));
        ledger.grow(one, &name, 30, quota).unwrap();
        ledger.enter(two, 0);
        ledger.grow(two, &name, 20, quota).unwrap();
        let error = ledger.grow(two, &name, 21, quota).unwrap_err();
        assert!(matches!(error, StoreError::Quota { used_bytes: 80, .. }), "{error}");
        ledger.end(one);
        ledger.grow(two, &name, 50, quota).unwrap();
        ledger.grow(two, &name, 51, quota).unwrap_err();
        // What is replaced makes room.
        ledger.end(two);
        ledger.enter(two, 45);
        ledger.grow(two, &name, 95, quota).unwrap();
    }
}
