//! What HTTP needs of the host.
//!
//! What it owns: the translation from what the host knows to what the API says. What it never
//! does: decide anything but which error is which.

use crate::host::access::{Action, Answer};
use crate::host::counters::read;
use crate::host::error::HostError;
use crate::host::events::unix_secs;
use crate::host::session::{Live, Session, is_done};
use crate::host::uploads::Arriving;
use crate::host::{Host, blocking};
use crate::report::ClientStatus;
use bytes::Bytes;
use image_store::{ImageName, Source, StoreError, UploadOptions};
use imagezip::ndz::{CHUNK_SIZE, Version};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::broadcast;
use web::api;

/// The host behind HTTP.
#[derive(Clone, Debug)]
pub(crate) struct HttpBackend {
    host: Arc<Host>,
}

impl HttpBackend {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host }
    }

    fn session(&self, id: &str) -> Option<Arc<Session>> {
        let all = self.host.sessions.all().into_iter().chain(self.host.sessions.ended_lately());
        all.into_iter().find(|session| session.id_text() == id)
    }
}

impl From<HostError> for web::Error {
    fn from(error: HostError) -> Self {
        let text = error.to_string();
        match error {
            HostError::Name(_) | HostError::NoUpload(_) | HostError::NoMethod => {
                Self::Invalid(text)
            }
            HostError::NoSuchImage(name) => Self::NoSuchImage(name.to_string()),
            HostError::NoAccess(_) => Self::Denied(text),
            HostError::OnItsWay(_) => Self::TryAgain { reason: text, after_secs: 2 },
            HostError::TooManySessions(_) | HostError::TooManyUploads(_) | HostError::NoAddress => {
                Self::TryAgain { reason: text, after_secs: 30 }
            }
            HostError::NotWhole { .. } | HostError::NoImage => Self::Broken(text),
            HostError::TooSlow { .. } => Self::Invalid(text),
            HostError::Store(error) => match error {
                StoreError::NoSuchImage { name } => Self::NoSuchImage(name.to_string()),
                StoreError::NoSuchUpload { .. } | StoreError::Refused { .. } => Self::Invalid(text),
                StoreError::Busy { .. } => Self::Busy(text),
                StoreError::Full { .. } | StoreError::Quota { .. } => Self::Full(text),
                StoreError::TooBig { .. } => Self::TooBig(text),
                StoreError::Broken { .. } => Self::Broken(text),
                StoreError::Io { .. } | StoreError::Location { .. } => Self::Failed(text),
            },
            _ => Self::Failed(text),
        }
    }
}

fn parse_name(name: &str) -> Result<ImageName, web::Error> {
    ImageName::parse(name).map_err(|error| HostError::from(error).into())
}

impl web::Backend for HttpBackend {
    type Content = OpenImage;
    type Upload = HttpUpload;

    fn allow(
        &self,
        peer: IpAddr,
        token: Option<&str>,
        action: web::Action,
        name: Option<&str>,
    ) -> web::Access {
        let action = match action {
            web::Action::Look | web::Action::Get => Action::Get,
            web::Action::Put => Action::Put,
            web::Action::Delete => Action::Delete,
            web::Action::Stop => Action::Stop,
        };
        match self.host.answer(peer, token, action, name) {
            Answer::Allowed => web::Access::Allowed,
            Answer::TokenNeeded => {
                web::Access::TokenNeeded(format!("to {} needs a token", action.of(name)))
            }
            Answer::Refused => web::Access::Denied(format!(
                "{peer} may not {}; the server's [[access]] rules decide",
                action.of(name)
            )),
        }
    }

    fn host(&self) -> api::Host {
        let config = &self.host.config;
        let sessions = self.host.sessions.all();
        let warnings = sessions.iter().flat_map(|session| session.started.warnings.iter().cloned());
        let mut warnings: Vec<String> = warnings.collect();
        warnings.sort();
        warnings.dedup();
        let group = sessions.first().map(|session| session.address.group);
        let running: u64 = sessions.iter().map(|session| rate(&session.live())).sum();
        api::Host {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_secs: unix_secs(self.host.started_at),
            rate_bits_per_sec: config.bandwidth.unwrap_or(running),
            group: group.or_else(|| config.groups.iter().next()).map(IpAddr::V4),
            warnings,
        }
    }

    fn counters(&self) -> api::Counters {
        let counters = &self.host.counters;
        let sums = self.host.sessions.sums();
        api::Counters {
            sessions_started: sums.sessions,
            clients_joined: sums.clients_joined,
            clients_done: sums.clients_done,
            troubles: read(&counters.troubles),
            bytes_sent: sums.totals.blocks_sent * BLOCK_BYTES,
            blocks_sent: sums.totals.blocks_sent,
            blocks_repeated: sums.totals.blocks_repeated,
            datagrams_bad: sums.totals.datagrams_bad,
            kernel_drops: sums.kernel_drops,
            read_errors: sums.read_errors,
            uploads_published: read(&counters.uploads_done),
            uploads_failed: read(&counters.uploads_failed),
            upload_bytes: read(&counters.upload_bytes),
            rendezvous: api::Rendezvous {
                ok: read(&counters.rendezvous_gets) + read(&counters.rendezvous_puts),
                no_image: read(&counters.rendezvous_no_image),
                refused: read(&counters.rendezvous_no_access),
                try_again: read(&counters.rendezvous_try_again),
                bad: read(&counters.rendezvous_bad),
                failed: read(&counters.rendezvous_failed),
            },
        }
    }

    fn sessions(&self) -> Vec<api::Session> {
        self.host.sessions.all().iter().map(|session| self.describe(session)).collect()
    }

    fn clients(&self, session: &str) -> Option<Vec<api::Client>> {
        let session = self.session(session)?;
        let live = session.live();
        let here = live.progress.iter().flat_map(|progress| &progress.clients);
        Some(here.chain(&live.left).map(|client| describe_client(client, &live)).collect())
    }

    fn uploads(&self) -> Vec<api::UploadStatus> {
        let describe = |arrival: super::uploads::Arrival| api::UploadStatus {
            name: arrival.name.to_string(),
            peer: arrival.peer,
            bytes: arrival.bytes,
            bytes_expected: arrival.bytes_total,
            started_secs: unix_secs(arrival.started_at),
        };
        self.host.arrivals.all().into_iter().map(describe).collect()
    }

    fn events(&self) -> broadcast::Receiver<Arc<api::Event>> {
        self.host.events.listen()
    }

    async fn images(&self) -> Result<Vec<api::Image>, web::Error> {
        let host = Arc::clone(&self.host);
        let entries = blocking(move || Ok(host.store.list()?)).await?;
        Ok(entries.iter().map(describe_image).collect())
    }

    async fn image(&self, name: &str) -> Result<api::ImageDetails, web::Error> {
        let name = parse_name(name)?;
        let entry = self.host.find(&name).await?;
        let host = Arc::clone(&self.host);
        let described = blocking(move || Ok(host.store.describe(&name)?)).await;
        // A broken image is listed with what is wrong with it.
        let dump = match described {
            Ok(details) => serde_json::to_value(&*details).ok(),
            Err(HostError::Store(error @ StoreError::Broken { .. })) => {
                Some(serde_json::json!({ "error": error.to_string() }))
            }
            Err(error) => return Err(error.into()),
        };
        let sessions = self.host.sessions.all();
        let of_image = |session: &&Arc<Session>| session.subject.name == entry.name;
        Ok(api::ImageDetails {
            image: describe_image(&entry),
            blake3: None,
            dump,
            sessions: sessions.iter().filter(of_image).map(|session| session.id_text()).collect(),
        })
    }

    async fn open(&self, name: &str) -> Result<OpenImage, web::Error> {
        let name = parse_name(name)?;
        self.host.find(&name).await?;
        let host = Arc::clone(&self.host);
        let source = blocking(move || Ok(host.store.open_image(&name)?)).await?;
        Ok(OpenImage { source })
    }

    async fn begin_upload(&self, request: web::UploadRequest) -> Result<HttpUpload, web::Error> {
        let name = parse_name(&request.name)?;
        let replaced = self.host.find_here(&name).await?.is_some();
        Ok(HttpUpload {
            host: Arc::clone(&self.host),
            name,
            peer: request.peer,
            bytes: request.bytes,
            replaced,
            start: Vec::new(),
            arriving: None,
        })
    }

    async fn delete(&self, name: &str) -> Result<(), web::Error> {
        let name = parse_name(name)?;
        let (host, image) = (Arc::clone(&self.host), name.clone());
        blocking(move || Ok(host.store.delete(&image)?)).await?;
        self.host.events.tell(api::Event::ImageDeleted { name: name.to_string() });
        Ok(())
    }

    async fn start_session(
        &self,
        image: &str,
        peer: IpAddr,
    ) -> Result<web::SessionStart, web::Error> {
        let name = parse_name(image)?;
        let entry = self.host.find(&name).await?;
        let was_running = self.host.sessions.running(&entry).is_some();
        let session = self.host.session_for(entry).await?;
        tracing::info!("{peer} asks for {name} by HTTP: {}", session.address);
        Ok(web::SessionStart { session: self.describe(&session), was_running })
    }

    async fn stop_session(&self, id: &str, force: bool) -> Result<(), web::Error> {
        let session = self.session(id).filter(|session| !session.is_over());
        let session = session.ok_or_else(|| web::Error::NoSuchSession(id.to_owned()))?;
        let loading = session.clients_present();
        if loading > 0 && !force {
            return Err(web::Error::Busy(format!("{loading} clients are loading {id}")));
        }
        session.stop();
        let wait = move || {
            session.wait();
            Ok(())
        };
        Ok(blocking(wait).await?)
    }
}

/// Bytes of image in a block.
const BLOCK_BYTES: u64 = 1024;

fn rate(live: &Live) -> u64 {
    live.progress.as_ref().map_or(0, |progress| progress.rate_bits_per_sec)
}

fn describe_image(entry: &image_store::Entry) -> api::Image {
    let (bytes, modified_secs) = (entry.bytes, entry.modified);
    api::Image { name: entry.name.to_string(), bytes, modified_secs }
}

impl HttpBackend {
    fn describe(&self, session: &Session) -> api::Session {
        let live = session.live();
        let progress = live.progress.as_ref();
        let totals = progress.map(|progress| progress.totals).unwrap_or_default();
        let started = &session.started;
        let done = live.left.iter().filter(|client| is_done(client)).count();
        let idle_secs = u64::from(self.host.config.idle_secs);
        api::Session {
            id: session.id_text(),
            image: session.subject.name.to_string(),
            group: session.address.group.into(),
            port: session.address.port,
            kind: started.kind.clone(),
            interface: started.interface.clone(),
            started_secs: unix_secs(session.started_at),
            image_bytes: started.image_bytes,
            image_blocks: started.image_blocks,
            rate_bits_per_sec: progress.map_or(started.bits_per_sec, |p| p.rate_bits_per_sec),
            sent_bits_per_sec: progress.map_or(0, |progress| progress.sent_bits_per_sec),
            blocks_sent: totals.blocks_sent,
            blocks_repeated: totals.blocks_repeated,
            blocks_waiting: progress.map_or(0, |progress| progress.blocks_waiting),
            requests: totals.requests,
            datagrams_bad: totals.datagrams_bad,
            kernel_drops: progress.map_or(0, |progress| progress.kernel_drops),
            read_errors: progress.map_or(0, |progress| progress.read_errors),
            clients_loading: progress.map_or(0, |p| count(p.clients.len())),
            clients_done: count(done),
            clients_in_trouble: count(live.troubles.len()),
            idle_secs_left: (idle_secs > 0)
                .then(|| idle_secs.saturating_sub(live.idle_for().as_secs())),
            warnings: started.warnings.clone(),
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn describe_client(client: &ClientStatus, live: &Live) -> api::Client {
    let told = live.troubles.get(&client.address.ip().to_canonical());
    let bytes_left = client
        .chunks_done
        .map(|done| u64::from(client.chunks.saturating_sub(done)).saturating_mul(CHUNK_SIZE));
    let secs_left = bytes_left.zip(client.bits_per_sec.filter(|rate| *rate > 0));
    api::Client {
        address: client.address,
        id: client.id,
        name: told.map(|(name, _)| name.clone()).filter(|name| !name.is_empty()),
        state: match (client.present, client.chunks_done) {
            (true, None) => api::ClientState::Joined,
            (true, Some(_)) => api::ClientState::Loading,
            (false, _) if is_done(client) => api::ClientState::Done,
            (false, _) => api::ClientState::Gone,
        },
        unicast: client.unicast,
        millis: client.millis,
        chunks_done: client.chunks_done,
        chunks: client.chunks,
        bits_per_sec: client.bits_per_sec,
        loss_millionths: client.loss_millionths,
        requests: client.requests,
        blocks_repeated: client.blocks_repeated,
        limited_by: match client.limited_by {
            "network" => api::Stage::Network,
            "disk" => api::Stage::Disk,
            "server" => api::Stage::Server,
            _ => api::Stage::Unknown,
        },
        laggard: client.laggard,
        secs_left: secs_left.map(|(bytes, rate)| bytes.saturating_mul(8) / rate),
        trouble: told.map(|(_, trouble)| trouble.clone()),
    }
}

/// An image that is read over HTTP.
#[derive(Debug)]
pub(crate) struct OpenImage {
    source: Arc<Source>,
}

impl web::Content for OpenImage {
    fn bytes(&self) -> u64 {
        self.source.bytes()
    }

    fn etag(&self) -> String {
        self.source.entry().version.clone()
    }

    fn modified_secs(&self) -> u64 {
        self.source.entry().modified
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let source = Arc::clone(&self.source);
        let read = move || {
            source.fetch(offset, count(length))?;
            let mut bytes = vec![0; length];
            source.file().read_exact_at(&mut bytes, offset)?;
            Ok(bytes.into())
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// An image that comes over HTTP. Whether it is an image or another file its first bytes tell.
#[derive(Debug)]
pub(crate) struct HttpUpload {
    host: Arc<Host>,
    name: ImageName,
    peer: IpAddr,
    bytes: Option<u64>,
    replaced: bool,
    start: Vec<u8>,
    arriving: Option<Arriving>,
}

/// Bytes that are passed on at once; what comes in smaller pieces waits.
const PIECE: usize = 1 << 20;

impl HttpUpload {
    /// Passes on what waits.
    async fn pass_on(&mut self) -> Result<Option<Arriving>, HostError> {
        let (host, name, peer, bytes) =
            (Arc::clone(&self.host), self.name.clone(), self.peer, self.bytes);
        let (start, arriving) = (std::mem::take(&mut self.start), self.arriving.take());
        blocking(move || {
            let mut arriving = match arriving {
                Some(arriving) => arriving,
                None => {
                    let image = Version::of_image(&start).is_some();
                    let options = UploadOptions { image, bytes, ..UploadOptions::default() };
                    host.arrivals.begin(&name, peer, options)?
                }
            };
            arriving.write(&start)?;
            Ok(Some(arriving))
        })
        .await
    }
}

impl web::Upload for HttpUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), web::Error> {
        self.start.extend_from_slice(&bytes);
        if self.start.len() >= PIECE {
            self.arriving = self.pass_on().await?;
        }
        Ok(())
    }

    async fn publish(mut self, blake3: Option<[u8; 32]>) -> Result<api::Published, web::Error> {
        let arriving = self.pass_on().await?;
        let published = blocking(move || match arriving {
            Some(arriving) => {
                let bytes = arriving.bytes();
                arriving.publish(blake3.map(|digest| (bytes, digest)))
            }
            None => Err(HostError::Closing),
        })
        .await?;
        Ok(api::Published {
            name: self.name.to_string(),
            bytes: published.entry.bytes,
            blake3: blake3::Hash::from(published.blake3).to_string(),
            replaced: self.replaced,
        })
    }

    async fn abandon(mut self, reason: &str) {
        let reason = reason.to_owned();
        if let Some(arriving) = self.arriving.take() {
            // Whoever sent it knows that it failed; the log says so too.
            let _ = blocking(move || -> Result<(), _> { Err(arriving.set_aside(&reason)) }).await;
        }
    }
}
