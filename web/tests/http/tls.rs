//! TLS.

use crate::client::{Answer, PATIENCE, Running, head};
use crate::fake::Fake;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto, version};
use web::{Config, Server, Tls, TlsError};

/// Writes a certificate and its key.
fn make(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["images.example".into()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn ask(server: &Running, trusted: &CertificateDer<'static>) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await?;
    let name = "images.example".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(head("GET", "/api/v1/host", &[], 0).as_bytes()).await?;
    Ok(Answer::read(&mut stream).await)
}

#[tokio::test]
async fn https_works_and_certificates_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let first = make(folder.path());
    let tls = Tls::open(&cert, &key).unwrap();
    let backend = Server::new(Arc::new(Fake::default()), Config::default());
    let server = Running::start_with(backend, Some(Arc::clone(&tls))).await;
    assert_eq!(ask(&server, &first).await.unwrap().status, 200);

    let second = make(folder.path());
    tls.reload().unwrap();
    assert!(ask(&server, &first).await.is_err(), "the old certificate is out of use");
    assert_eq!(ask(&server, &second).await.unwrap().status, 200);

    // Files that are no use leave the old ones in use.
    std::fs::write(&cert, "nonsense").unwrap();
    let error = tls.reload().unwrap_err();
    assert!(error.to_string().contains("cert.pem"), "{error}");
    assert_eq!(ask(&server, &second).await.unwrap().status, 200);

    // Plain HTTP at this port is closed, not answered.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("an end");
    assert!(closed.is_err() || !answer.starts_with(b"HTTP"));
}

#[test]
fn useless_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    make(folder.path());
    let missing = folder.path().join("none.pem");
    let error = Tls::open(&missing, &key).unwrap_err();
    assert!(matches!(&error, TlsError::File { path, .. } if *path == missing), "{error}");
    let error = Tls::open(&cert, &cert).unwrap_err();
    assert!(error.to_string().contains("a private key in PEM"), "{error}");
    // A key that belongs to another certificate.
    let other = tempfile::tempdir().unwrap();
    make(other.path());
    let error = Tls::open(&cert, &other.path().join("key.pem")).unwrap_err();
    assert!(matches!(error, TlsError::Unusable { .. }), "{error}");
}
