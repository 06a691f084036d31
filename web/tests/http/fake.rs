//! A host that is not there: images in memory, sessions with clients that move by the clock.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;
use web::api::{self, ClientState, Event, Stage, Trouble};
use web::{Access, Action, Backend, Content, Error, SessionStart, Upload, UploadRequest};

/// With this token everything is allowed; without one, looking and getting.
pub(crate) const TOKEN: &str = "open-sesame";
/// Uploads larger than this are too big.
pub(crate) const UPLOAD_BYTES_MAX: u64 = 8 << 20;
/// Size and chunks of the image of a moving session.
const CHUNKS: u32 = 2048;
/// How long the fastest of the moving clients takes.
const FASTEST_SECS: f64 = 40.0;

type Images = BTreeMap<String, Bytes>;

pub(crate) struct Fake {
    images: Arc<Mutex<Images>>,
    sessions: Mutex<Vec<Running>>,
    events: broadcast::Sender<Arc<Event>>,
    started: Instant,
    sessions_started: AtomicU64,
    uploads_abandoned: Arc<AtomicU64>,
    pub(crate) warnings: Vec<String>,
    /// Whoever wants to look needs a token, too.
    pub(crate) is_secret: bool,
}

#[derive(Clone)]
struct Running {
    id: String,
    image: String,
    number: u8,
    clients: usize,
    /// How far the clients are when the fake starts, as a share of the whole.
    ahead: f64,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            images: Arc::default(),
            sessions: Mutex::default(),
            events: broadcast::Sender::new(64),
            started: Instant::now(),
            sessions_started: AtomicU64::new(0),
            uploads_abandoned: Arc::default(),
            warnings: Vec::new(),
            is_secret: false,
        }
    }
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Fake {
    pub(crate) fn with_images(names: &[&str]) -> Self {
        let fake = Self::default();
        for name in names {
            fake.images().insert((*name).into(), content(name));
        }
        fake
    }

    /// Adds a session with so many clients.
    pub(crate) fn add_session(&self, image: &str, clients: usize, ahead: f64) -> String {
        let running = self.running(image, clients, ahead);
        let id = running.id.clone();
        self.sessions.lock().unwrap().push(running);
        id
    }

    fn running(&self, image: &str, clients: usize, ahead: f64) -> Running {
        let number = self.sessions_started.fetch_add(1, Ordering::Relaxed) + 1;
        Running {
            id: format!("s{number}"),
            image: image.into(),
            number: u8::try_from(number).unwrap(),
            clients,
            ahead,
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        // Without readers nobody is told.
        let _ = self.events.send(Arc::new(event));
    }

    pub(crate) fn event_readers(&self) -> usize {
        self.events.receiver_count()
    }

    pub(crate) fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap()
    }

    pub(crate) fn abandoned(&self) -> u64 {
        self.uploads_abandoned.load(Ordering::SeqCst)
    }

    fn session(&self, running: &Running) -> api::Session {
        let clients = self.clients_of(running);
        let count = |state| -> u64 {
            clients.iter().filter(|client| client.state == state).count().try_into().unwrap()
        };
        let loading = count(ClientState::Loading) + count(ClientState::Joined);
        let secs = self.started.elapsed().as_secs_f64();
        let wave = (1.0 + (secs / 7.0).sin() * 0.2) * if loading > 0 { 1.0 } else { 0.0 };
        let sent = whole(secs * 90_000.0);
        api::Session {
            id: running.id.clone(),
            image: running.image.clone(),
            group: Ipv4Addr::new(239, 192, 7, running.number).into(),
            port: 7000 + u16::from(running.number),
            kind: "multicast".into(),
            interface: "eth1".into(),
            started_secs: now_secs() - self.started.elapsed().as_secs(),
            image_bytes: u64::from(CHUNKS) << 20,
            image_blocks: u64::from(CHUNKS) << 10,
            rate_bits_per_sec: 900_000_000,
            sent_bits_per_sec: whole(740_000_000.0 * wave),
            blocks_sent: sent,
            blocks_repeated: sent / 50 + whole((1.0 + (secs / 5.0).sin()) * 400.0),
            blocks_waiting: 1024,
            requests: sent / 1000,
            datagrams_bad: 0,
            kernel_drops: 0,
            read_errors: 0,
            clients_loading: loading,
            clients_done: count(ClientState::Done),
            clients_in_trouble: clients
                .iter()
                .filter(|client| client.trouble.is_some())
                .count()
                .try_into()
                .unwrap(),
            idle_secs_left: Some(3600),
            warnings: Vec::new(),
        }
    }

    fn clients_of(&self, running: &Running) -> Vec<api::Client> {
        let secs = self.started.elapsed().as_secs_f64();
        (0..running.clients).map(|index| client(index, secs, running.ahead)).collect()
    }
}

/// The content of an image: a function of its name.
pub(crate) fn content(name: &str) -> Bytes {
    name.bytes().cycle().take(100_000 + name.len()).collect()
}

/// What a hash would do: spread numbers.
fn spread(index: usize) -> usize {
    index.wrapping_mul(2_654_435_761) >> 7 & 0x3ff
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fake rounds")]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

fn client(index: usize, secs: f64, ahead: f64) -> api::Client {
    let kind = spread(index);
    let slowness = 1.0 + f64::from(u32::try_from(kind % 97).unwrap()) / 60.0;
    let is_troubled = index % 61 == 7;
    let is_stuck = index % 83 == 20;
    let is_laggard = index % 47 == 3;
    let mut share = ahead + secs / FASTEST_SECS / slowness;
    if is_laggard {
        share *= 0.4;
    }
    if is_stuck {
        share = share.min(0.31);
    }
    let share = share.min(1.0);
    let chunks_done = u32::try_from(whole(share * f64::from(CHUNKS))).unwrap();
    let is_done = chunks_done >= CHUNKS;
    let rate = 780_000_000.0 / slowness * if is_laggard { 0.4 } else { 1.0 };
    let last = u8::try_from(index % 200).unwrap() + 1;
    let third = u8::try_from(index / 200).unwrap() + 1;
    let is_gone = is_stuck && secs > 25.0;
    api::Client {
        address: SocketAddr::from(([10, 10, third, last], 40_000)),
        id: u32::try_from(index).unwrap(),
        name: Some(format!("node{}-{}", index / 20 + 1, index % 20 + 1)),
        state: match (is_done, is_gone, chunks_done) {
            (true, ..) => ClientState::Done,
            (_, true, _) => ClientState::Gone,
            (.., 0) => ClientState::Joined,
            _ => ClientState::Loading,
        },
        unicast: is_troubled,
        millis: whole(secs * 1000.0),
        chunks_done: (chunks_done > 0).then_some(chunks_done),
        chunks: CHUNKS,
        bits_per_sec: (chunks_done > 0).then(|| whole(rate)),
        loss_millionths: if kind.is_multiple_of(9) { u64::try_from(kind).unwrap() * 90 } else { 0 },
        requests: u64::from(chunks_done / 4),
        blocks_repeated: u64::try_from(kind).unwrap(),
        limited_by: match kind % 5 {
            _ if chunks_done == 0 => Stage::Unknown,
            0 => Stage::Disk,
            1 | 2 => Stage::Network,
            _ => Stage::Server,
        },
        laggard: is_laggard,
        secs_left: (chunks_done > 0 && !is_done)
            .then(|| whole((1.0 - share) * FASTEST_SECS * slowness)),
        trouble: is_troubled.then(|| Trouble {
            what: "no_data".into(),
            waited_secs: 5,
            fallback: true,
            at_secs: now_secs(),
        }),
    }
}

pub(crate) struct FakeUpload {
    name: String,
    bytes: Vec<u8>,
    images: Arc<Mutex<Images>>,
    abandoned: Arc<AtomicU64>,
    is_over: bool,
}

impl Drop for FakeUpload {
    fn drop(&mut self) {
        if !self.is_over {
            self.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Upload for FakeUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let total = self.bytes.len() + bytes.len();
        if u64::try_from(total).unwrap() > UPLOAD_BYTES_MAX {
            return Err(Error::TooBig("an image may have 8 MiB here".into()));
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn publish(mut self, blake3: Option<[u8; 32]>) -> Result<api::Published, Error> {
        // Stands for the digest; enough to see that it travels.
        let digest = [u8::try_from(self.bytes.len() % 256).unwrap(); 32];
        if blake3.is_some_and(|expected| expected != digest) {
            return Err(Error::Broken("the digest differs".into()));
        }
        self.is_over = true;
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let published = api::Published {
            name: self.name.clone(),
            bytes: bytes.len().try_into().unwrap(),
            blake3: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            replaced: self.images.lock().unwrap().contains_key(&self.name),
        };
        self.images.lock().unwrap().insert(self.name.clone(), bytes);
        Ok(published)
    }

    async fn abandon(self, _: &str) {}
}

pub(crate) struct FakeContent(Bytes);

impl Content for FakeContent {
    fn bytes(&self) -> u64 {
        self.0.len().try_into().unwrap()
    }

    fn etag(&self) -> String {
        format!("{}-{}", self.0.len(), self.0.first().copied().unwrap_or(0))
    }

    fn modified_secs(&self) -> u64 {
        784_111_777
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).unwrap();
        Ok(self.0.slice(start..start + length))
    }
}

impl Backend for Fake {
    type Upload = FakeUpload;
    type Content = FakeContent;

    fn allow(&self, _: IpAddr, token: Option<&str>, action: Action, name: Option<&str>) -> Access {
        match (action, token) {
            _ if name.is_some_and(|name| name.starts_with("private/")) => {
                Access::Denied("images below private/ are not for your address".into())
            }
            (_, Some(TOKEN)) => Access::Allowed,
            (Action::Look | Action::Get, _) if !self.is_secret => Access::Allowed,
            (_, Some(_)) => Access::TokenNeeded("this token is not known".into()),
            (_, None) => Access::TokenNeeded("a token is needed for this".into()),
        }
    }

    fn host(&self) -> api::Host {
        api::Host {
            name: "imagehost".into(),
            version: "0.1.0".into(),
            started_secs: 1_800_000_000,
            rate_bits_per_sec: 950_000_000,
            group: Some(Ipv4Addr::new(239, 192, 7, 1).into()),
            warnings: self.warnings.clone(),
        }
    }

    fn counters(&self) -> api::Counters {
        api::Counters {
            sessions_started: self.sessions_started.load(Ordering::Relaxed),
            bytes_sent: 12_345,
            rendezvous: api::Rendezvous { ok: 7, bad: 2, ..api::Rendezvous::default() },
            ..api::Counters::default()
        }
    }

    fn sessions(&self) -> Vec<api::Session> {
        self.sessions.lock().unwrap().iter().map(|running| self.session(running)).collect()
    }

    fn clients(&self, session: &str) -> Option<Vec<api::Client>> {
        let sessions = self.sessions.lock().unwrap();
        sessions.iter().find(|running| running.id == session).map(|r| self.clients_of(r))
    }

    fn uploads(&self) -> Vec<api::UploadStatus> {
        let secs = self.started.elapsed().as_secs();
        let upload = api::UploadStatus {
            name: "saves/node3-4-2026-11-22.ndz".into(),
            peer: Ipv4Addr::new(10, 10, 3, 4).into(),
            bytes: (secs * 40_000_000).min(1_400_000_000),
            bytes_expected: Some(1_500_000_000),
            started_secs: now_secs() - secs,
        };
        if self.sessions.lock().unwrap().is_empty() { Vec::new() } else { vec![upload] }
    }

    fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    async fn images(&self) -> Result<Vec<api::Image>, Error> {
        let images = self.images();
        let entry = |(name, bytes): (&String, &Bytes)| api::Image {
            name: name.clone(),
            bytes: bytes.len().try_into().unwrap(),
            modified_secs: 1_790_000_000,
        };
        Ok(images.iter().map(entry).collect())
    }

    async fn image(&self, name: &str) -> Result<api::ImageDetails, Error> {
        let image = Backend::images(self).await?.into_iter().find(|image| image.name == name);
        let image = image.ok_or_else(|| Error::NoSuchImage(name.into()))?;
        let sessions = self.sessions().into_iter().filter(|session| session.image == name);
        Ok(api::ImageDetails {
            image,
            blake3: None,
            dump: Some(serde_json::json!({ "format": "ndz2", "chunks": 3 })),
            sessions: sessions.map(|session| session.id).collect(),
        })
    }

    async fn open(&self, name: &str) -> Result<FakeContent, Error> {
        if name == "far.ndz" {
            let reason = "it is being fetched from the parent".into();
            return Err(Error::TryAgain { reason, after_secs: 5 });
        }
        let found = self.images().get(name).cloned();
        found.map(FakeContent).ok_or_else(|| Error::NoSuchImage(name.into()))
    }

    async fn begin_upload(&self, request: UploadRequest) -> Result<FakeUpload, Error> {
        if request.bytes.is_some_and(|bytes| bytes > UPLOAD_BYTES_MAX) {
            return Err(Error::TooBig("an image may have 8 MiB here".into()));
        }
        if request.name == "busy.ndz" {
            return Err(Error::Busy("somebody else is uploading it".into()));
        }
        Ok(FakeUpload {
            name: request.name,
            bytes: Vec::new(),
            images: Arc::clone(&self.images),
            abandoned: Arc::clone(&self.uploads_abandoned),
            is_over: false,
        })
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let gone = self.images().remove(name);
        gone.map(drop).ok_or_else(|| Error::NoSuchImage(name.into()))?;
        self.tell(Event::ImageDeleted { name: name.into() });
        Ok(())
    }

    async fn start_session(&self, image: &str, _: IpAddr) -> Result<SessionStart, Error> {
        self.open(image).await?;
        // Many ask at once; one session starts.
        let mut sessions = self.sessions.lock().unwrap();
        let running = sessions.iter().find(|running| running.image == image);
        if let Some(running) = running {
            return Ok(SessionStart { session: self.session(running), was_running: true });
        }
        let running = self.running(image, 0, 0.0);
        sessions.push(running.clone());
        drop(sessions);
        let session = self.session(&running);
        self.tell(Event::SessionStarted {
            session: session.id.clone(),
            image: image.into(),
            group: session.group,
            port: session.port,
        });
        Ok(SessionStart { session, was_running: false })
    }

    async fn stop_session(&self, session: &str, force: bool) -> Result<(), Error> {
        let mut sessions = self.sessions.lock().unwrap();
        let index = sessions.iter().position(|running| running.id == session);
        let index = index.ok_or_else(|| Error::NoSuchSession(session.into()))?;
        let clients = sessions[index].clients;
        if clients > 0 && !force {
            return Err(Error::Busy(format!("{clients} clients are loading")));
        }
        sessions.remove(index);
        Ok(())
    }
}
