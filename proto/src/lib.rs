//! The frisbee protocol, sans IO.
pub mod block_set;
pub mod geometry;
pub mod random;
pub mod time;
pub mod wire;
