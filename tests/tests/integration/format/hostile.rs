//! Chunks that break one rule of the page each.
