//! An image host: one process that serves a whole store of images and takes new ones.
//!
//! What it is: the rendezvous service (`rendezvous`), HTTP (`backend`), uploads (`uploads`), and
//! the sessions that they start (`sessions`), each a [`Server`](crate::Server) in a thread of its
//! own. What it owns: the store, the listeners, signals, and the order of start and end. What it
//! never does: touch a block; sessions do.

pub mod access;
mod addresses;
mod args;
mod backend;
pub mod config;
mod counters;
mod doors;
mod error;
mod events;
mod parent;
mod probes;
mod rendezvous;
mod run;
mod session;
mod sessions;
mod state;
mod stored;
mod uploads;

pub use addresses::{GroupRange, PortRange};
pub use args::HostArgs;
pub use config::{Config, ConfigError};
pub use error::HostError;
pub use run::{Listening, RunError, check, run};

use access::{Access, Action, Answer};
use counters::Counters;
use events::Events;
use image_store::{Entry, ImageName, Store};
use mcast::igmp::QuerierThread;
use parent::Parent;
use probes::Probes;
use session::Session;
use sessions::Sessions;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use uploads::{Arrivals, UploadLimits};

/// Everything that the services of an image host share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: Config,
    access: RwLock<Access>,
    pub(crate) store: Arc<Store>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) parent: Option<Arc<Parent>>,
    pub(crate) probes: Probes,
    pub(crate) events: Events,
    pub(crate) counters: Arc<Counters>,
    pub(crate) started_at: SystemTime,
}

impl Host {
    pub(crate) fn new(
        config: Config,
        store: Store,
        querier: Option<(QuerierThread, Ipv4Addr)>,
    ) -> Arc<Self> {
        let (store, events) = (Arc::new(store), Events::new());
        let counters = Arc::<Counters>::default();
        let uploads = &config.uploads;
        let seconds = |secs: u32| Duration::from_secs(secs.max(1).into());
        let limits = UploadLimits {
            at_once: uploads.at_once,
            bytes_max: if uploads.bytes_max == 0 { u64::MAX } else { uploads.bytes_max },
            idle: seconds(uploads.idle_secs),
            total: seconds(uploads.total_secs),
        };
        let arrivals =
            Arrivals::new(Arc::clone(&store), limits, events.clone(), Arc::clone(&counters));
        let parent = config.parent.clone().map(|server| {
            let (arrivals, counters) = (Arc::clone(&arrivals), Arc::clone(&counters));
            let spool = config.store.cache_dir.clone();
            Parent::new(server, config.parent_check, spool, arrivals, counters)
        });
        Arc::new(Self {
            access: RwLock::new(config.access()),
            sessions: Sessions::new(&config, Arc::clone(&store), events.clone()),
            probes: Probes::new(&config, querier),
            started_at: SystemTime::now(),
            arrivals,
            parent,
            config,
            store,
            events,
            counters,
        })
    }

    /// Replaces the access rules.
    pub(crate) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// Whether `peer` may do this.
    pub(crate) fn answer(
        &self,
        peer: IpAddr,
        token: Option<&str>,
        action: Action,
        name: Option<&str>,
    ) -> Answer {
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        access.check(peer, token, action, name)
    }

    /// Fails unless `peer` may do this.
    pub(crate) fn check_access(
        &self,
        peer: IpAddr,
        token: Option<&str>,
        action: Action,
        name: Option<&ImageName>,
    ) -> Result<(), HostError> {
        let text = name.map(ToString::to_string);
        match self.answer(peer, token, action, text.as_deref()) {
            Answer::Allowed => Ok(()),
            Answer::TokenNeeded => Err(HostError::NoAccess(format!(
                "{} needs a token{}",
                action.of(text.as_deref()),
                if token.is_some() { "; the one that was given is not the right one" } else { "" },
            ))),
            Answer::Refused => Err(HostError::NoAccess(format!(
                "{peer} may not {}; the server's [[access]] rules decide",
                action.of(text.as_deref()),
            ))),
        }
    }

    /// An image of this host's store.
    pub(crate) async fn find_here(
        self: &Arc<Self>,
        name: &ImageName,
    ) -> Result<Option<Entry>, HostError> {
        let (host, name) = (Arc::clone(self), name.clone());
        blocking(move || Ok(host.store.find(&name)?)).await
    }

    /// An image, here or, if it can be fetched, soon.
    pub(crate) async fn find(self: &Arc<Self>, name: &ImageName) -> Result<Entry, HostError> {
        let (host, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            let here = host.store.find(&name)?;
            let here = match &host.parent {
                Some(parent) => parent.look_for(&name, here)?,
                None => here,
            };
            match here {
                Some(entry) => Ok(entry),
                None if host.arrivals.brings(&name) => Err(HostError::OnItsWay(name)),
                None => Err(HostError::NoSuchImage(name)),
            }
        })
        .await
    }

    /// The session that serves an image that was found; started if there is none.
    pub(crate) async fn session_for(
        self: &Arc<Self>,
        entry: Entry,
    ) -> Result<Arc<Session>, HostError> {
        if let Some(session) = self.sessions.running(&entry) {
            return Ok(session);
        }
        let host = Arc::clone(self);
        blocking(move || host.sessions.get_or_start(&entry)).await
    }
}

/// A panic elsewhere leaves nothing half done under the host's locks.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for work that may wait for a disk, without keeping others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    // It fails only when the work panicked, or the program ends.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(HostError::Closing))
}
