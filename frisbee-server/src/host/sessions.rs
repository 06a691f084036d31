//! All sessions of an image host: one for each image that is asked for.
//!
//! What it owns: which image has which session, the start of a session on the first request, groups
//! and ports, and the state file. What it never does: talk to clients; a session's own thread does.

use crate::gate::Budget;
use crate::host::addresses::{Address, AddressPool};
use crate::host::config::Config;
use crate::host::error::HostError;
use crate::host::events::Events;
use crate::host::guard;
use crate::host::session::{Session, Subject, Sums};
use crate::host::state::{SavedSession, StateFile};
use crate::settings::{BURST_DEFAULT, Settings, random_number};
use crate::{Network, NetworkError};
use image_store::{Entry, ImageName, Store};
use mcast::{InterfaceSelector, OpenError, Options, SetupError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use web::api::Event;

/// Sessions that have ended and are remembered for people.
const ENDED_MAX: usize = 50;

/// What all sessions are made with.
#[derive(Debug)]
struct Plan {
    interface: InterfaceSelector,
    options: Options,
    settings: Settings,
    sessions_max: usize,
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    store: Arc<Store>,
    plan: Plan,
    events: Events,
    state_file: Option<StateFile>,
    inner: Mutex<Inner>,
    /// Only one thread at a time starts a session for an image; the others wait for it.
    starting: Mutex<BTreeMap<ImageName, Arc<Mutex<()>>>>,
}

#[derive(Debug)]
struct Inner {
    addresses: AddressPool,
    running: BTreeMap<u64, Arc<Session>>,
    ended: VecDeque<Arc<Session>>,
    next_id: u64,
    /// What those that ended counted.
    gone: Sums,
    /// True once the host is told to end: nothing starts any more, and the state stays as it is.
    closing: bool,
}

impl Sessions {
    pub(crate) fn new(config: &Config, store: Arc<Store>, events: Events) -> Arc<Self> {
        let default = Settings::default();
        let settings = Settings {
            bits_per_sec: config.session_bandwidth,
            burst_blocks: BURST_DEFAULT,
            idle_exit: config.idle_exit(),
            keep_alive: (config.keep_alive_secs > 0)
                .then(|| Duration::from_secs(config.keep_alive_secs.into())),
            unicast: config.unicast,
            total: config.bandwidth.map(|bits| Arc::new(Budget::new(bits))),
            ..default
        };
        let options = Options {
            ttl: config.ttl,
            multicast_loop: config.multicast_loop,
            ..Options::default()
        };
        let mut addresses = AddressPool::new(config.groups, config.ports);
        addresses.begin_anywhere(random_number());
        let inner = Inner {
            addresses,
            running: BTreeMap::new(),
            ended: VecDeque::new(),
            next_id: 1,
            gone: Sums::default(),
            closing: false,
        };
        Arc::new(Self {
            store,
            plan: Plan {
                interface: config.interface.clone(),
                options,
                settings,
                sessions_max: config.sessions_max,
            },
            events,
            state_file: config.state.clone().map(StateFile::new),
            inner: Mutex::new(inner),
            starting: Mutex::default(),
        })
    }

    /// The session that serves this very image, if there is one.
    pub(crate) fn running(&self, entry: &Entry) -> Option<Arc<Session>> {
        let inner = self.lock();
        inner.running.values().find(|session| session.serves(entry)).cloned()
    }

    /// The session for an image that was found; started if there is none. Waits for the image's
    /// headers to be checked: call it where waiting is allowed.
    ///
    /// # Errors
    /// When the image is gone, it is broken, or there is no room for one more session.
    pub(crate) fn get_or_start(self: &Arc<Self>, entry: &Entry) -> Result<Arc<Session>, HostError> {
        let name = &entry.name;
        let turn = Arc::clone(guard(&self.starting).entry(name.clone()).or_default());
        let started = {
            let _turn = guard(&turn);
            // Somebody else may have started it while this thread waited.
            match self.running(entry) {
                Some(session) => Ok(session),
                None => self.start(name, None),
            }
        };
        // Whoever waits has a handle of its own.
        guard(&self.starting).remove(name);
        started
    }

    /// Goes on with the sessions of the state file. Images that were changed or removed since are
    /// passed over: their clients will ask anew.
    pub(crate) fn resume(self: &Arc<Self>) {
        let Some(file) = &self.state_file else { return };
        for saved in file.read() {
            let Some(name) = saved.name() else { continue };
            let resumed = match self.store.find(&name) {
                Ok(Some(entry)) if entry.version == saved.version => {
                    self.start(&name, Some(saved.address()))
                }
                Ok(_) => {
                    tracing::warn!("{name} was replaced or removed; its session is not resumed");
                    continue;
                }
                Err(error) => Err(error.into()),
            };
            match resumed {
                Ok(session) => tracing::info!("resumed {name} on {}", session.address),
                Err(error) => tracing::warn!("{name} on {}: not resumed: {error}", saved.address()),
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        name: &ImageName,
        again: Option<Address>,
    ) -> Result<Arc<Session>, HostError> {
        let subject = Subject::open(&self.store, name)?;
        let (address, socket) = self.open_socket(again)?;
        let settings = &self.plan.settings;
        let id = {
            let mut inner = self.lock();
            let id = inner.next_id;
            inner.next_id += 1;
            id
        };
        let prepared =
            Session::prepare(id, subject, address, socket, settings, self.events.clone());
        let (session, server) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.lock().addresses.give_back(address);
                return Err(error);
            }
        };
        {
            let mut inner = self.lock();
            if inner.closing {
                inner.addresses.give_back(address);
                return Err(HostError::Closing);
            }
            inner.running.insert(id, Arc::clone(&session));
        }
        let sessions = Arc::clone(self);
        let ended = Arc::clone(&session);
        let run = session.run(server, move || sessions.ended(&ended));
        if let Err(error) = run {
            self.ended(&session);
            return Err(error);
        }
        self.save_state();
        let id = session.id_text();
        let Address { group, port } = session.address;
        let (image, group) = (name.to_string(), group.into());
        self.events.tell(Event::SessionStarted { session: id, image, group, port });
        Ok(session)
    }

    /// Takes a group and a port, and opens sockets there.
    fn open_socket(
        &self,
        again: Option<Address>,
    ) -> Result<(Address, mcast::GroupSocket), HostError> {
        let mut unusable = BTreeSet::new();
        loop {
            let address = {
                let mut inner = self.lock();
                if inner.closing {
                    return Err(HostError::Closing);
                }
                if inner.running.len() >= self.plan.sessions_max {
                    return Err(HostError::TooManySessions(self.plan.sessions_max));
                }
                let taken = match again {
                    Some(address) => inner.addresses.take_again(address).then_some(address),
                    None => inner.addresses.take(&unusable),
                };
                taken.ok_or(HostError::NoAddress)?
            };
            let network = Network {
                group: IpAddr::V4(address.group),
                ports: address.port..=address.port,
                interface: self.plan.interface.clone(),
                options: self.plan.options.clone(),
            };
            match network.open() {
                Ok(socket) => return Ok((address, socket)),
                Err(error) => {
                    self.lock().addresses.give_back(address);
                    let in_use = matches!(
                        error,
                        NetworkError::Setup(SetupError::Open(OpenError::InUse { .. }))
                    );
                    if again.is_some() || !in_use {
                        return Err(HostError::Network(error));
                    }
                    unusable.insert(address.port);
                }
            }
        }
    }

    /// All sessions that run, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().running.values().cloned().collect()
    }

    /// Sessions that ended lately, the last first.
    pub(crate) fn ended_lately(&self) -> Vec<Arc<Session>> {
        self.lock().ended.iter().cloned().collect()
    }

    /// What all sessions counted since the start of the program.
    pub(crate) fn sums(&self) -> Sums {
        let inner = self.lock();
        let mut sums = inner.gone;
        inner.running.values().for_each(|session| sums.add(&session.sums()));
        sums
    }

    /// True when a session uses this group or this port.
    pub(crate) fn uses(&self, group: IpAddr, port: u16) -> bool {
        let uses = |address: Address| IpAddr::V4(address.group) == group || address.port == port;
        self.lock().running.values().any(|session| uses(session.address))
    }

    /// Ends everything, but leaves the state file as it is, for the next run.
    pub(crate) fn close(&self) {
        let running: Vec<_> = {
            let mut inner = self.lock();
            inner.closing = true;
            inner.running.values().cloned().collect()
        };
        running.iter().for_each(|session| session.stop());
        running.iter().for_each(|session| session.wait());
    }

    fn ended(&self, session: &Arc<Session>) {
        {
            let mut inner = self.lock();
            inner.running.remove(&session.id);
            inner.gone.add(&session.sums());
            inner.addresses.give_back(session.address);
            inner.ended.push_front(Arc::clone(session));
            inner.ended.truncate(ENDED_MAX);
        }
        self.save_state();
        let (image, why) = (session.subject.name.to_string(), session.why_ended());
        self.events.tell(Event::SessionEnded { session: session.id_text(), image, why });
    }

    fn save_state(&self) {
        let Some(file) = &self.state_file else { return };
        // One at a time, and what is written last is the newest.
        let inner = self.lock();
        if inner.closing {
            return;
        }
        let sessions = inner.running.values().map(|session| {
            let (image, version) =
                (session.subject.name.to_string(), session.subject.version.clone());
            let Address { group, port } = session.address;
            SavedSession { image, version, group, port }
        });
        if let Err(error) = file.write(sessions.collect()) {
            tracing::warn!("{error}; sessions would not go on after a restart");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        guard(&self.inner)
    }
}
