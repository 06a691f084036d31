//! Where images are kept: a directory, or an S3-compatible object store.
//!
//! What it is: the part of the image host that names, lists, opens, takes in and deletes images.
//! What it owns: [`ImageName`], the only type that names an image and proves that the name stays
//! inside the store; [`Store`], one blocking interface to both kinds; [`Source`], an image held
//! open as it was; [`Upload`], an image that is arriving and is published only when it is complete
//! and whole. What it never does: talk to a client, or decide who may do what.
//!
//! `docs/image-store.md` tells the layout on disk and what is durable when.

mod details;
mod entry;
mod error;
mod intake;
pub mod journal;
mod ledger;
mod local;
mod name;
mod object;
mod options;
mod source;
mod store;
mod upload;
mod upload_id;

pub use details::Details;
pub use entry::Entry;
pub use error::StoreError;
pub use name::{ImageName, NAME_BYTES_MAX, NameError};
pub use options::StoreOptions;
pub use source::Source;
pub use store::Store;
pub use upload::{Published, Upload, UploadOptions};
pub use upload_id::UploadId;
