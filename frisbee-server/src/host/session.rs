//! One session of an image host: an image, a group and a port, and the thread that serves it.
//!
//! What it owns: what is known of the session while it runs and for a while afterwards: its
//! clients, and which of them had trouble. What it never does: decide when to
//! start.

use crate::host::addresses::Address;
use crate::host::error::HostError;
use crate::host::events::{Events, unix_secs};
use crate::host::guard;
use crate::host::stored::Stored;
use crate::report::{ClientStatus, Progress, Started, Summary, Totals};
use crate::settings::Settings;
use crate::{Ended, Image, Report, Server};
use crossbeam_channel::{Receiver, bounded};
use image_store::{Entry, ImageName, Store, StoreError};
use imagezip::interrupt::Interrupt;
use imagezip::ndz::{ChunkHeader, NATIVE_HEADER_AREA_MAX, Version};
use mcast::{GroupSocket, Waker};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use web::api::{Event, Trouble};

/// Reports that may wait; more are lost rather than keep the network waiting.
const REPORTS_MAX: usize = 1024;

/// Clients that have left and are remembered.
const LEFT_MAX: usize = 1000;

/// Clients whose trouble is remembered.
const TROUBLES_MAX: usize = 1000;

/// What is served.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: ImageName,
    pub(crate) bytes: u64,
    /// Tells it from other images of that name.
    pub(crate) version: String,
    source: Arc<image_store::Source>,
    format: Option<(Version, Option<[u8; 16]>)>,
}

impl Subject {
    /// Opens an image and checks its headers.
    pub(crate) fn open(store: &Store, name: &ImageName) -> Result<Self, HostError> {
        let source = store.open_image(name)?;
        let format = format(&source)
            .map_err(|source| StoreError::Io { doing: format!("read {name}"), source })?;
        if format.is_some() {
            // Not whole: nobody shall begin to load it.
            store.describe(name)?;
        }
        // Of what is open, whatever has its name by now.
        let Entry { bytes, version, .. } = source.entry().clone();
        Ok(Self { name: name.clone(), bytes, version, source, format })
    }
}

/// True for a client that left with the whole image.
pub(crate) fn is_done(client: &ClientStatus) -> bool {
    // Those that report nothing are believed: they leave when they are done, or crash.
    !client.present && client.chunks_done.is_none_or(|done| done >= client.chunks)
}

/// Version and id of the image that begins in this file; `None` when it is another file.
fn format(source: &image_store::Source) -> io::Result<Option<(Version, Option<[u8; 16]>)>> {
    let len = source.bytes().min(NATIVE_HEADER_AREA_MAX.try_into().unwrap_or(u64::MAX));
    source.fetch(0, len)?;
    let mut start = vec![0; usize::try_from(len).unwrap_or(0)];
    source.file().read_exact_at(&mut start, 0)?;
    let Some(version) = Version::of_image(&start) else { return Ok(None) };
    // A header that is broken is found out when all are checked.
    let id = ChunkHeader::parse(&start, 0).ok().and_then(|header| header.image_id);
    Ok(Some((version, id)))
}

/// What sessions counted, in sums.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) sessions: u64,
    pub(crate) clients_joined: u64,
    pub(crate) clients_done: u64,
    pub(crate) totals: Totals,
    pub(crate) kernel_drops: u64,
    pub(crate) read_errors: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.clients_joined += other.clients_joined;
        self.clients_done += other.clients_done;
        self.totals.add_all(&other.totals);
        self.kernel_drops += other.kernel_drops;
        self.read_errors += other.read_errors;
    }
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) subject: Subject,
    pub(crate) address: Address,
    pub(crate) started: Started,
    pub(crate) started_at: SystemTime,
    interrupt: Interrupt,
    waker: Waker,
    events: Events,
    live: Mutex<Live>,
    over: Condvar,
}

/// What changes.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) progress: Option<Progress>,
    /// Clients that left, the last first.
    pub(crate) left: VecDeque<ClientStatus>,
    /// Clients that joined since the start, also more than once.
    pub(crate) joined: u64,
    /// Clients that left with the whole image.
    pub(crate) done: u64,
    /// When something was asked for or sent last.
    busy_at: Option<Instant>,
    /// Clients that told of trouble, and what they call themselves, by their address.
    pub(crate) troubles: BTreeMap<IpAddr, (String, Trouble)>,
    pub(crate) summary: Option<Summary>,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    is_over: bool,
}

impl Live {
    /// Time since something was asked for.
    pub(crate) fn idle_for(&self) -> Duration {
        self.busy_at.map_or(Duration::ZERO, |at| at.elapsed())
    }
}

impl Session {
    /// Makes a session and the server that will run it.
    pub(crate) fn prepare(
        id: u64,
        subject: Subject,
        address: Address,
        socket: GroupSocket,
        settings: &Settings,
        events: Events,
    ) -> Result<(Arc<Self>, Server), HostError> {
        let source = Arc::new(Stored::new(Arc::clone(&subject.source)));
        let path = subject.name.to_string().into();
        let image = Image::from_source(path, source, subject.bytes, subject.format)?;
        let server = Server::new(image, socket, settings)?;
        for warning in &server.started().warnings {
            tracing::warn!("{}: {warning}", subject.name);
        }
        let session = Self {
            id,
            subject,
            address,
            started: server.started().clone(),
            started_at: SystemTime::now(),
            interrupt: Interrupt::never(),
            waker: server.waker(),
            events,
            live: Mutex::default(),
            over: Condvar::new(),
        };
        Ok((Arc::new(session), server))
    }

    /// Runs the server in a thread of its own; `ended` is called when it is over.
    pub(crate) fn run(
        self: &Arc<Self>,
        server: Server,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<(), HostError> {
        let (reports, taken) = bounded(REPORTS_MAX);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(format!("{name} {}", self.id))
                .spawn(work)
                .map_err(HostError::Thread)
        };
        let session = Arc::clone(self);
        let listener = spawn("reports", Box::new(move || session.listen(&taken)))?;
        let session = Arc::clone(self);
        let serve = move || {
            let result = server.run(&session.interrupt, &reports);
            drop(reports);
            // A panic there was printed; the session is over all the same.
            let _ = listener.join();
            let mut live = session.live();
            match result {
                Ok(summary) => live.summary = Some(summary),
                Err(error) => {
                    tracing::error!("{} on {}: {error}", session.subject.name, session.address);
                    live.failure = Some(error.to_string());
                }
            }
            drop(live);
            ended();
            session.live().is_over = true;
            session.over.notify_all();
        };
        spawn("session", Box::new(serve)).map(drop)
    }

    fn listen(self: &Arc<Self>, reports: &Receiver<Report>) {
        for report in reports {
            match report {
                Report::Progress(progress) => self.note_progress(progress),
                Report::Joined(joined) => {
                    self.live().joined += 1;
                    self.events.tell(Event::ClientJoined {
                        session: self.id_text(),
                        client: joined.address,
                        unicast: joined.unicast,
                    });
                }
                Report::Left(client) => {
                    let mut live = self.live();
                    live.done += u64::from(is_done(&client));
                    live.left.push_front(client.clone());
                    live.left.truncate(LEFT_MAX);
                    drop(live);
                    self.events.tell(Event::ClientLeft {
                        session: self.id_text(),
                        client: client.address,
                        done: is_done(&client),
                        millis: client.millis,
                    });
                }
                Report::Start(_) | Report::Summary(_) => {}
            }
        }
    }

    fn note_progress(&self, progress: Progress) {
        let mut live = self.live();
        let work = |progress: &Progress| progress.totals.joins + progress.totals.requests;
        if live.progress.as_ref().map(work) != Some(work(&progress)) {
            live.busy_at = Some(Instant::now());
        }
        live.progress = Some(progress);
    }

    /// Notes that a client, called `name`, hears nothing.
    pub(crate) fn note_trouble(&self, peer: IpAddr, name: &str, trouble: Trouble) {
        let mut live = self.live();
        if live.troubles.len() < TROUBLES_MAX || live.troubles.contains_key(&peer) {
            live.troubles.insert(peer, (name.to_owned(), trouble.clone()));
        }
        drop(live);
        self.events.tell(Event::ClientTrouble {
            session: Some(self.id_text()),
            client: if name.is_empty() { peer.to_string() } else { name.to_owned() },
            image: self.subject.name.to_string(),
            trouble,
        });
    }

    /// What it is called in the API: never the same for two sessions, also of two runs of the
    /// program.
    pub(crate) fn id_text(&self) -> String {
        format!("{:x}-{}", unix_secs(self.started_at), self.id)
    }

    /// What is known now.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        guard(&self.live)
    }

    /// True when it serves this very image, and not an older one of the same name.
    pub(crate) fn serves(&self, entry: &Entry) -> bool {
        let Subject { name, version, .. } = &self.subject;
        !self.interrupt.is_set() && *name == entry.name && *version == entry.version
    }

    /// Why it ended, in a few words.
    pub(crate) fn why_ended(&self) -> String {
        let live = self.live();
        match (&live.summary, &live.failure) {
            (_, Some(failure)) => failure.clone(),
            (Some(summary), None) => match summary.ended {
                Ended::Idle => "nobody asked for anything".into(),
                Ended::Empty => "the last client left".into(),
                Ended::Interrupted => "stopped".into(),
            },
            (None, None) => "running".into(),
        }
    }

    /// Clients that are loading.
    pub(crate) fn clients_present(&self) -> usize {
        self.live().progress.as_ref().map_or(0, |progress| progress.clients.len())
    }

    /// Asks it to end.
    pub(crate) fn stop(&self) {
        self.interrupt.set();
        self.waker.wake();
    }

    /// True once it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.live().is_over
    }

    /// What it counted up to now.
    pub(crate) fn sums(&self) -> Sums {
        let live = self.live();
        let (totals, kernel_drops, read_errors) = match (&live.summary, &live.progress) {
            (Some(all), _) => (all.totals, all.kernel_drops, all.read_errors),
            (None, Some(all)) => (all.totals, all.kernel_drops, all.read_errors),
            (None, None) => Default::default(),
        };
        let clients_joined = live.joined;
        Sums {
            sessions: 1,
            clients_joined,
            clients_done: live.done,
            totals,
            kernel_drops,
            read_errors,
        }
    }

    /// Waits until it has ended, a second at most: whatever hangs must not keep the program.
    pub(crate) fn wait(&self) {
        let waited =
            self.over.wait_timeout_while(self.live(), Duration::from_secs(1), |live| !live.is_over);
        drop(waited);
    }
}
