//! What is served: a disk image, or any other file.
//!
//! What it owns: opening the file, telling an image from other files, and refusing a broken image
//! before anybody loads it. What it never does: read payloads.

use crate::source::Source;
use imagezip::interrupt::Interrupt;
use imagezip::load::{ImageInput, LoadError};
use imagezip::ndz::Version;
use imagezip::ndz::image::ImageSet;
use proto::geometry::{Geometry, GeometryError};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why a file is not served.
#[derive(Debug, Error)]
pub enum ImageError {
    /// It cannot be opened or read.
    #[error("{}: cannot read it: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its first bytes say that it is an image, and the rest says that it is not whole.
    #[error(
        "{}: the image is broken, every client would fail: {source}. Save it again, or serve it \
         as a plain file with --force", path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<LoadError>,
    },
    /// Empty, or too large for the protocol.
    #[error("{}: {source}", path.display())]
    Geometry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GeometryError,
    },
    /// A signal came while the image was being checked.
    #[error("interrupted while the image was being checked")]
    Interrupted,
}

impl ImageError {
    /// True when trying again will not help.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Broken { source, .. } => source.is_refusal(),
            Self::Geometry { .. } => true,
            Self::Io { .. } | Self::Interrupted => false,
        }
    }
}

/// An open file that can be served.
#[derive(Debug)]
pub struct Image {
    pub(crate) source: Arc<dyn Source>,
    path: PathBuf,
    geometry: Geometry,
    version: Option<Version>,
    image_id: Option<[u8; 16]>,
}

impl Image {
    /// Opens a file; when it is an image, checks the headers of all its chunks, which takes one
    /// small read each. With `force` an image is served like any other file, whatever its state.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn open(path: &Path, force: bool, interrupt: &Interrupt) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Io { path: path.into(), source };
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        // Also right for a block device. A pipe has no end to seek to and is refused here.
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let geometry = Geometry::deployed(bytes)
            .map_err(|source| ImageError::Geometry { path: path.into(), source })?;
        let mut magic = [0; 4];
        let version = match file.read_exact_at(&mut magic, 0) {
            Ok(()) => Version::of_image(&magic),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(failed(error)),
        };
        let source = Arc::new(file);
        let mut image = Self { source, path: path.into(), geometry, version, image_id: None };
        if version.is_some() && !force {
            image.image_id = image.check(interrupt)?;
        }
        Ok(image)
    }

    /// A file that was opened, and if it is an image checked, by somebody else. `path` is what
    /// people know it by.
    ///
    /// # Errors
    /// [`ImageError::Geometry`].
    pub fn from_source(
        path: PathBuf,
        source: Arc<dyn Source>,
        bytes: u64,
        image: Option<(Version, Option<[u8; 16]>)>,
    ) -> Result<Self, ImageError> {
        match Geometry::deployed(bytes) {
            Ok(geometry) => {
                let (version, image_id) = image.unzip();
                Ok(Self { source, path, geometry, version, image_id: image_id.flatten() })
            }
            Err(source) => Err(ImageError::Geometry { path, source }),
        }
    }

    /// Checks all headers; returns the image's id.
    fn check(&self, interrupt: &Interrupt) -> Result<Option<[u8; 16]>, ImageError> {
        let broken = |source: LoadError| ImageError::Broken {
            path: self.path.clone(),
            source: Box::new(source),
        };
        let input = ImageInput::open(&self.path).map_err(broken)?;
        let mut set = ImageSet::new();
        for index in 0..input.chunks().unwrap_or(0) {
            if interrupt.is_set() {
                return Err(ImageError::Interrupted);
            }
            let header = input.header(index).map_err(broken)?;
            set.push(&header).map_err(|error| broken(error.into()))?;
        }
        Ok(set.finish().map_err(|error| broken(error.into()))?.image_id)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is cut into chunks and blocks.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The format, when it is an image.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Its identity, when it is an image whose writer gave it one.
    pub const fn image_id(&self) -> Option<[u8; 16]> {
        self.image_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(bytes: &[u8], force: bool) -> Result<Image, ImageError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Image::open(file.path(), force, &Interrupt::never())
    }

    #[test]
    fn any_file_with_bytes_in_it_can_be_served() {
        for len in [1, 3, 1024, 1_300_007] {
            let image = open(&vec![7; len], false).unwrap();
            assert_eq!(image.geometry().bytes(), u64::try_from(len).unwrap());
            assert!(image.version().is_none() && image.image_id().is_none());
        }
        assert!(open(b"", false).unwrap_err().is_refusal());
    }

    #[test]
    fn a_broken_image_is_refused_unless_forced() {
        for len in [4, 5000, 1 << 20] {
            let mut bytes = vec![0xff; len];
            bytes[..4].copy_from_slice(b"NDZ2");
            let error = open(&bytes, false).unwrap_err();
            assert!(error.is_refusal() && error.to_string().contains("--force"), "{error}");
            assert_eq!(open(&bytes, true).unwrap().version(), Some(Version::Native));
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_refusal() {
        let missing = Image::open(Path::new("/nonexistent"), false, &Interrupt::never());
        assert!(!missing.unwrap_err().is_refusal());
        let folder = Image::open(Path::new("/"), false, &Interrupt::never());
        assert!(folder.unwrap_err().to_string().contains("directory"));
    }
}
