//! TLS for HTTP: certificates from PEM files, read again when told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto, version};

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of use.
    #[error("{path}: {reason}; expected {expected} in PEM format")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Key and certificate do not belong together, or are of no use.
    #[error("{certificates} and {key} cannot be used together: {reason}")]
    Unusable {
        /// The certificates.
        certificates: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A key with its certificates. Connections that are open keep what they began with.
pub struct Tls {
    certificates: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { certificates, key, config: _ } = self;
        f.debug_struct("Tls").field("certificates", certificates).field("key", key).finish()
    }
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its key.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn open(certificates: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let config = load(certificates, key)?;
        Ok(Arc::new(Self {
            certificates: certificates.into(),
            key: key.into(),
            config: RwLock::new(config),
        }))
    }

    /// Reads the files again, for connections to come. On an error the old ones stay in use.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = load(&self.certificates, &self.key)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn load(certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let file_error = |path: &Path, expected, reason: String| TlsError::File {
        path: path.into(),
        expected,
        reason,
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(certificates, "certificates", error.to_string()))?;
    if chain.is_empty() {
        return Err(file_error(certificates, "certificates", "none found".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| file_error(key, "a private key", error.to_string()))?;
    let unusable = |reason: String| TlsError::Unusable {
        certificates: certificates.into(),
        key: key.into(),
        reason,
    };
    let mut config = ServerConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| unusable(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
