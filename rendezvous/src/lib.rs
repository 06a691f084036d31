//! How a node finds an image and hands one in: TCP port 64494 of an image host.
//!
//! What it is: [`record`], the deployed master protocol V01 (one request, one reply, fixed size), and
//! [`frame`], our own protocol F01 for uploads with a verdict, reports of trouble and tests of the
//! network. Both begin with a version and a type; [`opening`] tells them apart.
//! What it never does: know what an image is, where it is kept, or how its blocks travel.

pub mod client;
mod code;
pub mod frame;
mod image_id;
mod opening;
pub mod record;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod upload;

pub use code::ErrorCode;
pub use image_id::{IMAGE_ID_LEN_MAX, ImageId, ImageIdError};
pub use opening::{OPENING_LEN, Opening, OpeningError, opening};

/// The port of an image host's rendezvous service, 0xfbee.
pub const PORT: u16 = 64494;
