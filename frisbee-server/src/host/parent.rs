//! Another image host, from which this one gets what it lacks.
//!
//! What it owns: the question whether the parent has an image, or a newer one, and the fetching:
//! once for each image, however many ask for it. What it never does: publish what is not whole; a
//! fetched image goes through the store's checks as an uploaded one does.
//!
//! The parent is asked by the rendezvous protocol and sends by frisbee, so that it may be one of
//! ours or a deployed one.

use crate::host::counters::{Counters, bump};
use crate::host::error::HostError;
use crate::host::guard;
use crate::host::uploads::Arrivals;
use clap::Parser;
use frisbee_client::{Args, ClientError, Status};
use image_store::{Entry, ImageName, UploadOptions};
use imagezip::interrupt::Interrupt;
use imagezip::ndz::Version;
use mcast::{OpenError, SetupError};
use rendezvous::ErrorCode;
use rendezvous::ImageId;
use rendezvous::client::{self, Limits, Patience, Server, addresses};
use rendezvous::record::{GetAnswer, GetRequest, Methods, Signature};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the parent said holds this long, so that a herd of clients asks it once.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// A parent that takes longer is down: clients wait for it.
const CONNECT_TIME: Duration = Duration::from_secs(2);
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Answers that are remembered.
const KNOWN_MAX: usize = 10_000;

/// A fetch to which nothing new comes for this long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is known of an image at the parent.
#[derive(Clone, Debug)]
enum Known {
    /// It has it.
    There { bytes: u64, modified: Option<u64> },
    /// It has no such image, or does not give it.
    NotThere,
    /// It could not be asked, or a fetch failed.
    Failed(String),
}

/// The parent.
#[derive(Debug)]
pub(crate) struct Parent {
    server: Server,
    always_check: bool,
    spool: PathBuf,
    arrivals: Arc<Arrivals>,
    counters: Arc<Counters>,
    known: Mutex<BTreeMap<ImageName, (Instant, Known)>>,
    fetching: Mutex<BTreeMap<ImageName, Instant>>,
}

impl Parent {
    /// The parent at `server`. What is being fetched is kept in `spool`.
    pub(crate) fn new(
        server: Server,
        always_check: bool,
        spool: PathBuf,
        arrivals: Arc<Arrivals>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        Arc::new(Self {
            server,
            always_check,
            spool,
            arrivals,
            counters,
            known: Mutex::default(),
            fetching: Mutex::default(),
        })
    }

    /// What there is under a name, when `here` is what this host has: that, or nothing. An image
    /// that is missing or stale begins to be fetched.
    ///
    /// # Errors
    /// [`HostError::OnItsWay`] while it is fetched; [`HostError::Parent`] when it is missing and the
    /// parent cannot be asked.
    pub(crate) fn look_for(
        self: &Arc<Self>,
        name: &ImageName,
        here: Option<Entry>,
    ) -> Result<Option<Entry>, HostError> {
        if here.is_some() && !self.always_check {
            return Ok(here);
        }
        if guard(&self.fetching).contains_key(name) {
            return Err(HostError::OnItsWay(name.clone()));
        }
        match (self.ask(name), here) {
            (Known::There { bytes, modified }, Some(entry))
                if entry.bytes == bytes && modified.is_none_or(|time| time == entry.modified) =>
            {
                Ok(Some(entry))
            }
            // Somebody has sent a newer one to this host: it must not be lost.
            (Known::There { modified: Some(time), .. }, Some(entry)) if time < entry.modified => {
                tracing::info!("{name} is newer here than at the parent");
                Ok(Some(entry))
            }
            (Known::There { modified, .. }, _) => {
                self.start(name, modified)?;
                Err(HostError::OnItsWay(name.clone()))
            }
            (Known::Failed(why), None) => Err(HostError::Parent(why)),
            (Known::Failed(why), here) => {
                tracing::warn!("{name} is served as it is here: {why}");
                Ok(here)
            }
            (Known::NotThere, here) => Ok(here),
        }
    }

    /// Asks the parent, unless it has just been asked. One question at a time: the others wait, and
    /// find the answer.
    fn ask(&self, name: &ImageName) -> Known {
        let mut known = guard(&self.known);
        if let Some((at, answer)) = known.get(name)
            && at.elapsed() < KNOWN_FOR
        {
            return answer.clone();
        }
        // Names of images are as long as ids at most, and have no NUL.
        let Ok(image) = ImageId::new(name.as_str().as_bytes()) else { return Known::NotThere };
        let answer = match self.status(image) {
            Ok(answer) => Known::There {
                bytes: answer.bytes,
                modified: match answer.signature {
                    Signature::Modified(secs) => Some(secs.into()),
                    _ => None,
                },
            },
            Err(error) => match error.code() {
                Some(ErrorCode::NoSuchImage | ErrorCode::NoAccess) => Known::NotThere,
                _ => Known::Failed(format!("the parent cannot be asked: {error}")),
            },
        };
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (at, _)| at.elapsed() < KNOWN_FOR);
        }
        known.insert(name.clone(), (Instant::now(), answer.clone()));
        answer
    }

    fn status(&self, image: ImageId) -> Result<GetAnswer, client::ClientError> {
        let request = GetRequest { host: None, methods: Methods::ANY, status: true, image };
        let limits = Limits { connect: CONNECT_TIME, answer: ANSWER_TIME, ..Limits::default() };
        client::get(&self.server, &request, &Patience::NONE, &limits)
    }

    /// Fetches in a thread of its own.
    fn start(self: &Arc<Self>, name: &ImageName, modified: Option<u64>) -> Result<(), HostError> {
        {
            let mut fetching = guard(&self.fetching);
            if fetching.contains_key(name) {
                return Ok(());
            }
            fetching.insert(name.clone(), Instant::now());
        }
        let (parent, image) = (Arc::clone(self), name.clone());
        let fetch = move || {
            let begun = Instant::now();
            let fetched = parent.fetch(&image, modified);
            match &fetched {
                Ok(bytes) => {
                    bump(&parent.counters.parent_fetches);
                    let secs = begun.elapsed().as_secs_f32();
                    tracing::info!("{image} came from the parent: {bytes} bytes in {secs:.1} s");
                }
                Err(error) => {
                    bump(&parent.counters.parent_failures);
                    tracing::warn!("{image} did not come from the parent: {error}");
                    let why = format!("{image} could not be fetched from the parent: {error}");
                    let failed = (Instant::now(), Known::Failed(why));
                    guard(&parent.known).insert(image.clone(), failed);
                }
            }
            guard(&parent.fetching).remove(&image);
        };
        let spawned = std::thread::Builder::new().name(format!("fetch {name}")).spawn(fetch);
        if let Err(error) = spawned {
            guard(&self.fetching).remove(name);
            return Err(HostError::Thread(error));
        }
        Ok(())
    }

    /// Loads the image as any client does, then hands it to the store.
    fn fetch(&self, name: &ImageName, modified: Option<u64>) -> Result<u64, HostError> {
        let failed =
            |error: std::io::Error| HostError::Parent(format!("{}: {error}", self.spool.display()));
        std::fs::create_dir_all(&self.spool).map_err(failed)?;
        let spooled = tempfile::Builder::new()
            .prefix("fetch-")
            .tempfile_in(&self.spool)
            .map_err(failed)?
            .into_temp_path();
        self.load(name, &spooled)?;
        let mut file = File::open(&spooled).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut buffer = vec![0; 1 << 20];
        let mut arriving = None;
        loop {
            let len = file.read(&mut buffer).map_err(failed)?;
            let piece = buffer.get(..len).unwrap_or_default();
            let arriving = match &mut arriving {
                Some(arriving) => arriving,
                None => {
                    let image = Version::of_image(piece).is_some();
                    let options = UploadOptions {
                        image,
                        bytes: Some(bytes),
                        modified,
                        ..UploadOptions::default()
                    };
                    arriving.insert(self.arrivals.begin_fetched(name, self.peer(), options)?)
                }
            };
            if len == 0 {
                break;
            }
            arriving.write(piece)?;
        }
        match arriving {
            Some(arriving) => arriving.publish(None).map(|published| published.entry.bytes),
            None => Ok(0),
        }
    }

    /// Loads the file as it is, by unicast where the parent can.
    fn load(&self, name: &ImageName, to: &Path) -> Result<(), HostError> {
        let wrong = |error: String| HostError::Parent(error);
        let (server, silence) = (self.server.to_string(), SILENCE_MAX.as_secs().to_string());
        let words = [
            "fetch",
            "--server",
            &server,
            "--image",
            name.as_str(),
            "-X",
            "unicast,mcast",
            "-N",
            "-T",
            &silence,
        ];
        let words = words.map(OsStr::new).into_iter().chain([to.as_os_str()]);
        let args = Args::try_parse_from(words).map_err(|error| wrong(error.to_string()))?;
        let loaded = frisbee_client::load(&args, &Status::new(), &Interrupt::never());
        loaded.map(drop).map_err(|error| match error {
            ClientError::Setup(SetupError::Open(OpenError::InUse { .. })) => wrong(format!(
                "{error}. A session of this host may have the parent's port: give this host other \
                 `ports`"
            )),
            error => wrong(error.to_string()),
        })
    }

    /// The parent's address, for people.
    fn peer(&self) -> IpAddr {
        let addresses = addresses(self.server.host(), self.server.port());
        let first = addresses.ok().and_then(|all| all.into_iter().next());
        first.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
    }
}
