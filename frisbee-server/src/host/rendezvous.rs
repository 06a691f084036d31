//! The rendezvous service: TCP port 64494, where nodes ask for images and hand them in.
//!
//! What it owns: connections, their limits and deadlines, and the answers. What it never does: keep
//! a thread for a connection that says nothing.

use crate::host::access::Action;
use crate::host::counters::bump;
use crate::host::error::HostError;
use crate::host::events::unix_secs;
use crate::host::session::Session;
use crate::host::uploads::{self, Deployed};
use crate::host::{Host, doors::Doors, probes};
use image_store::ImageName;
use rendezvous::record::{
    Existing, GetAnswer, GetReply, GetRequest, Kind, Methods, PutAnswer, PutReply, PutRequest,
    SessionAddress, Signature,
};
use rendezvous::{ErrorCode, ImageId, OPENING_LEN, Opening, frame, opening};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Answers connections until the host closes.
pub(crate) async fn serve(host: Arc<Host>, listener: TcpListener) {
    let doors = Doors::new(host.config.limits);
    loop {
        let Some((stream, peer, pass)) = doors.accept(&listener).await else { continue };
        let host = Arc::clone(&host);
        tokio::spawn(async move {
            if let Err(error) = converse(&host, stream, peer).await {
                bump(&host.counters.rendezvous_bad);
                tracing::debug!("{peer}: {error}");
            }
            drop(pass);
        });
    }
}

/// Why a connection was dropped.
#[derive(Debug, thiserror::Error)]
enum Dropped {
    #[error("no whole request came in time")]
    Slow,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Opening(#[from] rendezvous::OpeningError),
    #[error(transparent)]
    Record(#[from] rendezvous::record::RecordError),
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("a request was expected")]
    NoRequest,
}

/// One request, and its answer.
async fn converse(
    host: &Arc<Host>,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), Dropped> {
    let patience = host.config.request_time();
    let request =
        timeout(patience, read_request(&mut stream)).await.map_err(|_| Dropped::Slow)??;
    let from = peer.ip().to_canonical();
    let reply = match request {
        Request::Get(request) => get(host, from, request).await.encode(),
        Request::Put(request) => {
            let local = stream.local_addr()?.ip().to_canonical();
            put(host, from, local, request).await.encode()
        }
        Request::Frame(frame::Message::Upload(upload)) => {
            return uploads::receive_frames(host, stream, peer, upload).await.map_err(Dropped::Io);
        }
        Request::Frame(frame::Message::Trouble(trouble)) => {
            note_trouble(host, from, &trouble);
            frame::Message::TroubleReply(frame::TroubleReply {}).encode()?
        }
        Request::Frame(frame::Message::Test(test)) => {
            return probes::answer(host, stream, peer, test).await.map_err(Dropped::Io);
        }
        Request::Frame(_) => return Err(Dropped::NoRequest),
    };
    timeout(patience, async {
        stream.write_all(&reply).await?;
        stream.shutdown().await
    })
    .await
    .map_err(|_| Dropped::Slow)??;
    Ok(())
}

enum Request {
    Get(GetRequest),
    Put(PutRequest),
    Frame(frame::Message),
}

async fn read_request(stream: &mut TcpStream) -> Result<Request, Dropped> {
    let mut start = [0; OPENING_LEN];
    stream.read_exact(&mut start).await?;
    match opening(start)? {
        Opening::Record(kind @ (Kind::GetRequest | Kind::PutRequest)) => {
            let mut body = vec![0; kind.body_len()];
            stream.read_exact(&mut body).await?;
            Ok(match kind {
                Kind::GetRequest => Request::Get(GetRequest::decode(&body)?),
                _ => Request::Put(PutRequest::decode(&body)?),
            })
        }
        Opening::Record(_) => Err(Dropped::NoRequest),
        Opening::Frame(_) => {
            let mut header = [0; frame::HEADER_LEN];
            let (opened, rest) = header.split_at_mut(OPENING_LEN);
            opened.copy_from_slice(&start);
            stream.read_exact(rest).await?;
            let header = frame::Header::parse(header)?;
            if header.kind() == frame::Kind::Data {
                return Err(Dropped::NoRequest);
            }
            let mut body = vec![0; header.body_len()];
            stream.read_exact(&mut body).await?;
            Ok(Request::Frame(frame::Message::decode(header.kind(), &body)?))
        }
    }
}

/// The name of an image as this host knows images.
pub(crate) fn image_name(id: &ImageId) -> Result<ImageName, HostError> {
    // What is no UTF-8 has characters that no name has.
    Ok(ImageName::parse(&id.to_string())?)
}

/// For whom a request is: who asks, or whom a proxy asks for.
fn principal(host: &Host, peer: IpAddr, wanted: Option<Ipv4Addr>) -> Result<IpAddr, HostError> {
    match wanted.map(IpAddr::V4) {
        Some(other) if other != peer => {
            host.check_access(peer, None, Action::Proxy, None)?;
            Ok(other)
        }
        _ => Ok(peer),
    }
}

async fn get(host: &Arc<Host>, peer: IpAddr, request: GetRequest) -> GetReply {
    let (id, methods) = (request.image.clone(), request.methods);
    match try_get(host, peer, request).await {
        Ok(answer) => {
            bump(&host.counters.rendezvous_gets);
            tracing::info!("{peer} asks for {id} ({methods}): {:?}", answer.session);
            GetReply::Found(answer)
        }
        Err(error) => {
            let code = error.code();
            host.counters.count_error(code);
            tracing::info!("{peer} asks for {id}: {error}");
            GetReply::Error(code)
        }
    }
}

async fn try_get(
    host: &Arc<Host>,
    peer: IpAddr,
    request: GetRequest,
) -> Result<GetAnswer, HostError> {
    let name = image_name(&request.image)?;
    let client = principal(host, peer, request.host)?;
    host.check_access(client, None, Action::Get, Some(&name))?;
    let entry = host.find(&name).await?;
    let session = match request.status {
        true => host.sessions.running(&entry),
        false => Some(host.session_for(entry.clone()).await?),
    };
    let address = match &session {
        None => None,
        Some(session) => {
            let method = chosen_method(host, request.methods)?;
            Some((method, session_address(session, method)?))
        }
    };
    let (chosen, address) = address.unzip();
    let possible =
        Methods::MULTICAST | if host.config.unicast { Methods::UNICAST } else { Methods::NONE };
    Ok(GetAnswer {
        // Deployed servers tell all that is possible when they are only asked.
        methods: chosen.filter(|_| !request.status).unwrap_or(possible),
        session: address,
        signature: signature(entry.modified),
        bytes: entry.bytes,
    })
}

fn chosen_method(host: &Host, wanted: Methods) -> Result<Methods, HostError> {
    match () {
        () if wanted.contains(Methods::MULTICAST) => Ok(Methods::MULTICAST),
        () if wanted.contains(Methods::UNICAST) && host.config.unicast => Ok(Methods::UNICAST),
        () => Err(HostError::NoMethod),
    }
}

fn session_address(session: &Session, method: Methods) -> Result<SessionAddress, HostError> {
    // The records have room for IPv4 only; groups are IPv4, and so is the address they are sent from.
    let IpAddr::V4(server) = session.started.address else { return Err(HostError::NoMethod) };
    let group = if method == Methods::UNICAST { server } else { session.address.group };
    Ok(SessionAddress { server, group, port: session.address.port })
}

/// The time of change as deployed clients compare it. It lasts until 2106.
pub(crate) fn signature(modified: u64) -> Signature {
    Signature::Modified(u32::try_from(modified).unwrap_or(u32::MAX))
}

async fn put(host: &Arc<Host>, peer: IpAddr, local: IpAddr, request: PutRequest) -> PutReply {
    let id = request.image.clone();
    match try_put(host, peer, local, request).await {
        Ok(answer) => {
            bump(&host.counters.rendezvous_puts);
            PutReply::Accepted(answer)
        }
        Err(error) => {
            let code = error.code();
            host.counters.count_error(code);
            tracing::info!("{peer} wants to send {id}: {error}");
            PutReply::Error { code, bytes_max: host.config.uploads.bytes_max }
        }
    }
}

async fn try_put(
    host: &Arc<Host>,
    peer: IpAddr,
    local: IpAddr,
    request: PutRequest,
) -> Result<PutAnswer, HostError> {
    let name = image_name(&request.image)?;
    let client = principal(host, peer, request.host)?;
    host.check_access(client, None, Action::Put, Some(&name))?;
    let existing = host.find_here(&name).await?;
    let bytes_max = host.config.uploads.bytes_max;
    let address = if request.status {
        None
    } else {
        let deployed = Deployed {
            name,
            client,
            bytes: Some(request.bytes).filter(|bytes| *bytes > 0),
            modified: Some(request.modified).filter(|modified| *modified > 0),
            secs_max: Some(request.timeout).filter(|secs| *secs > 0),
        };
        Some(uploads::open_port(host, local, deployed).await?)
    };
    let existing =
        existing.map(|entry| Existing { signature: signature(entry.modified), bytes: entry.bytes });
    Ok(PutAnswer { address, existing, bytes_max })
}

/// A client says that it hears nothing: that is for the operator.
fn note_trouble(host: &Host, peer: IpAddr, trouble: &frame::Trouble) {
    bump(&host.counters.troubles);
    let (code, what) = match trouble.what {
        frame::What::NoReply => ("no_reply", "hears no answer to its join"),
        frame::What::NoData => ("no_data", "hears answers but no data"),
        frame::What::Stopped => ("stopped", "hears nothing any more"),
    };
    let next = if trouble.fallback { "; it goes on by unicast" } else { "" };
    let (group, secs) = (trouble.address, trouble.seconds);
    tracing::warn!(
        "{peer} {what} on {group}:{} for {secs} s{next}. `frisbee-server doctor` here, or \
         `frisbee-client doctor --server` there, says why",
        trouble.port
    );
    let of_client = |session: &&Arc<Session>| {
        session.address.port == trouble.port
            && (IpAddr::V4(session.address.group) == group || session.started.address == group)
    };
    if let Some(session) = host.sessions.all().iter().find(of_client) {
        let told = web::api::Trouble {
            what: code.into(),
            waited_secs: secs,
            fallback: trouble.fallback,
            at_secs: unix_secs(SystemTime::now()),
        };
        session.note_trouble(peer, &trouble.client, told);
    }
}

impl crate::host::counters::Counters {
    fn count_error(&self, code: ErrorCode) {
        bump(match code {
            ErrorCode::NoSuchImage => &self.rendezvous_no_image,
            ErrorCode::NoAccess => &self.rendezvous_no_access,
            ErrorCode::TryAgain => &self.rendezvous_try_again,
            _ => &self.rendezvous_failed,
        });
    }
}
