//! Uploads of deployed clients: a PUT request gets a port, to which the file is streamed.
//!
//! What it owns: the port, for one connection of one machine. What it never does: wait for ever.

use super::blocking;
use super::stream::Incoming;
use crate::host::Host;
use crate::host::error::HostError;
use image_store::{ImageName, UploadOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Deployed clients connect at once.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// What a PUT request wants.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) name: ImageName,
    /// Who will connect.
    pub(crate) client: IpAddr,
    /// The announced length.
    pub(crate) bytes: Option<u64>,
    /// The time of change that the file is to have.
    pub(crate) modified: Option<u32>,
    /// The most that the upload may take.
    pub(crate) secs_max: Option<u32>,
}

/// Opens a port on the address that the request came to, and takes the file there.
pub(crate) async fn open_port(
    host: &Arc<Host>,
    local: IpAddr,
    deployed: Deployed,
) -> Result<SocketAddrV4, HostError> {
    let IpAddr::V4(address) = local else { return Err(HostError::NoMethod) };
    // Said now, while there is somebody to hear it.
    if host.arrivals.brings(&deployed.name) {
        return Err(HostError::OnItsWay(deployed.name));
    }
    let limits = host.arrivals.limits();
    let bytes_max = limits.bytes_max;
    if let Some(bytes) = deployed.bytes.filter(|bytes| *bytes > bytes_max) {
        let name = deployed.name;
        return Err(image_store::StoreError::TooBig { name, bytes, bytes_max }.into());
    }
    let listener = listen(host, address).await?;
    let port = listener.local_addr().map_err(HostError::Connection)?.port();
    let host = Arc::clone(host);
    tokio::spawn(async move {
        let (name, client) = (deployed.name.clone(), deployed.client);
        if let Err(error) = take(host, listener, deployed).await {
            tracing::warn!("{name} from {client} was not published: {error}");
        }
    });
    Ok(SocketAddrV4::new(address, port))
}

async fn listen(host: &Host, address: Ipv4Addr) -> Result<TcpListener, HostError> {
    for port in host.config.uploads.ports.iter() {
        match TcpListener::bind((address, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(HostError::Connection(error)),
        }
    }
    Err(HostError::NoAddress)
}

async fn take(host: Arc<Host>, listener: TcpListener, deployed: Deployed) -> Result<(), HostError> {
    let nobody = |_| HostError::Connection(io::ErrorKind::TimedOut.into());
    let stream =
        timeout(CONNECT_TIME, accept_from(&listener, deployed.client)).await.map_err(nobody)?;
    drop(listener);
    let work = move || {
        let limits = host.arrivals.limits();
        let stream = blocking(stream?, limits.idle).map_err(HostError::Connection)?;
        let mut incoming = Incoming::new(stream)?;
        let options = UploadOptions {
            image: incoming.is_image(),
            bytes: deployed.bytes,
            modified: deployed.modified.map(u64::from),
            ..UploadOptions::default()
        };
        let mut arriving = host.arrivals.begin(&deployed.name, deployed.client, options)?;
        if let Some(secs) = deployed.secs_max {
            arriving.shorten(Duration::from_secs(secs.into()));
        }
        incoming.take(arriving, deployed.bytes)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(HostError::Closing))
}

/// The first connection of the right machine.
async fn accept_from(listener: &TcpListener, client: IpAddr) -> Result<TcpStream, HostError> {
    loop {
        let (stream, peer): (_, SocketAddr) =
            listener.accept().await.map_err(HostError::Connection)?;
        if peer.ip().to_canonical() == client {
            return Ok(stream);
        }
        tracing::debug!("{peer} is not {client}, for whom the port is");
    }
}
