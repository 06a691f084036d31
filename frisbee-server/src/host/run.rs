//! An image host from its configuration to its end.
//!
//! What it owns: the listeners, signals, and the order: the store first, then sessions of the last
//! run, then listeners; at the end listeners first. What it never does: answer anybody.

use crate::host::config::{Config, ConfigError};
use crate::host::uploads::serve_streams;
use crate::host::{Host, backend::HttpBackend, rendezvous};
use image_store::{Store, StoreError, StoreOptions};
use mcast::igmp::QuerierThread;
use mcast::{GroupAddress, Interface};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval_at};
use web::Tls;

/// Why an image host does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A port.
    #[error("cannot listen on {address} for {what}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// For what.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] web::TlsError),
    /// The interface, or its IGMP querier.
    #[error("{0}")]
    Interface(String),
    /// The system gives no threads or no signals.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; is another frisbee-server running? (`ss -ltnp`)",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// Where a host listens, known once it does: port 0 in a configuration takes any.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// The rendezvous service.
    pub rendezvous: SocketAddr,
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// Plain streams.
    pub streams: Option<SocketAddr>,
}

/// Opens the store that a configuration names.
///
/// # Errors
/// [`RunError::Store`].
pub(crate) fn open_store(config: &Config) -> Result<Store, RunError> {
    let options = StoreOptions {
        cache_dir: Some(config.store.cache_dir.clone()),
        cache_bytes: config.store.cache,
        quota_bytes: Some(config.store.quota).filter(|bytes| *bytes > 0),
        keep_old: config.store.keep_old,
        ..StoreOptions::default()
    };
    Ok(Store::open(&config.dir, options)?)
}

/// Checks everything that can be checked without serving: the store, the certificate, the
/// interface.
///
/// # Errors
/// See [`RunError`].
pub fn check(config: &Config) -> Result<(), RunError> {
    config.check()?;
    open_store(config)?;
    open_tls(config)?;
    if let Some(folder) = config.state.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        let folder = folder.display();
        let text = format!("state: there is no directory {folder}; make it, or say \"off\"");
        return Err(ConfigError::Sense(text).into());
    }
    interface(config).map(drop)
}

/// Runs an image host until SIGINT or SIGTERM. `ready` is called when it
/// listens. SIGHUP has `reread` read the access rules and the certificate again.
///
/// # Errors
/// See [`RunError`].
pub fn run(
    config: Config,
    reread: impl Fn() -> Result<Config, ConfigError>,
    ready: impl FnOnce(Listening),
) -> Result<(), RunError> {
    config.check()?;
    let store = open_store(&config)?;
    let tls = open_tls(&config)?;
    let querier = start_querier(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1024)
        .thread_name("host")
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let host = Host::new(config, store, querier);
    let served = runtime.block_on(serve(&host, tls, reread, ready));
    host.sessions.close();
    // Uploads are suspended by the end of their connections; whatever hangs is left behind.
    runtime.shutdown_timeout(Duration::from_secs(2));
    served
}

async fn serve(
    host: &Arc<Host>,
    tls: Option<Arc<Tls>>,
    reread: impl Fn() -> Result<Config, ConfigError>,
    ready: impl FnOnce(Listening),
) -> Result<(), RunError> {
    let config = &host.config;
    let on = |kind| signal(kind).map_err(RunError::Start);
    let mut hangup = on(SignalKind::hangup())?;
    let (mut interrupt, mut terminate) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let (rendezvous, at) = listen(config.listen, "the rendezvous service").await?;
    let mut listening = Listening { rendezvous: at, http: None, streams: None };
    let mut http = None;
    if let Some(address) = config.http {
        let (listener, at) = listen(address, "HTTP").await?;
        listening.http = Some(at);
        http = Some(listener);
    }
    let mut streams = None;
    if let Some(address) = config.uploads.stream_listen {
        let (listener, at) = listen(address, "plain streams").await?;
        listening.streams = Some(at);
        streams = Some(listener);
    }
    // Before anybody is answered: a client that asks now is told the address that others have.
    let sessions = Arc::clone(&host.sessions);
    // It fails only when it panics, and says so.
    let _ = tokio::task::spawn_blocking(move || sessions.resume()).await;

    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(rendezvous::serve(Arc::clone(host), rendezvous));
    tasks.spawn(sweep(Arc::clone(host)));
    if let Some(listener) = streams {
        tasks.spawn(serve_streams(Arc::clone(host), listener));
    }
    let (ending, ended) = tokio::sync::oneshot::channel::<()>();
    let http = http.map(|listener| {
        let backend = Arc::new(HttpBackend::new(Arc::clone(host)));
        let server = web::Server::new(backend, http_limits(config));
        let tls = tls.clone();
        // The other end is dropped, never used: that ends it.
        tokio::spawn(async move { server.serve(listener, tls, async { drop(ended.await) }).await })
    });
    ready(listening);
    tokio::select! {
        () = until(&mut interrupt) => tracing::info!("interrupted"),
        () = until(&mut terminate) => tracing::info!("terminated"),
        () = reload_for_ever(host, tls.as_deref(), &mut hangup, reread) => {}
    }
    tasks.shutdown().await;
    drop(ending);
    if let Some(http) = http {
        let _ = http.await;
    }
    Ok(())
}

/// Has leftovers of uploads that nobody goes on with removed, now and then.
async fn sweep(host: Arc<Host>) {
    // Opening the store was the first time.
    let mut ticks = interval_at(Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        let store = Arc::clone(&host.store);
        // It fails only when it panics, and says so.
        let _ = tokio::task::spawn_blocking(move || store.sweep()).await;
    }
}

async fn until(signal: &mut Signal) {
    // `None` would mean that no signal can come any more.
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn reload_for_ever(
    host: &Host,
    tls: Option<&Tls>,
    hangup: &mut Signal,
    reread: impl Fn() -> Result<Config, ConfigError>,
) {
    loop {
        until(hangup).await;
        match reread() {
            Ok(config) => {
                host.set_access(config.access());
                tracing::warn!("access rules were read again; other settings need a restart");
            }
            Err(error) => tracing::error!("nothing was changed: {error}"),
        }
        if let Some(Err(error)) = tls.map(Tls::reload) {
            tracing::error!("the certificate stays as it was: {error}");
        }
    }
}

async fn listen(
    address: SocketAddr,
    what: &'static str,
) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, what, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok((listener, at))
}

fn open_tls(config: &Config) -> Result<Option<Arc<Tls>>, RunError> {
    match &config.tls {
        Some(tls) => Ok(Some(Tls::open(&tls.certificate, &tls.key)?)),
        None => Ok(None),
    }
}

fn http_limits(config: &Config) -> web::Config {
    let limits = config.limits;
    web::Config {
        connections_max: limits.connections,
        connections_per_address_max: limits.connections_per_address,
        requests_per_sec: limits.requests_per_sec,
        request_timeout: config.request_time(),
        body_idle_timeout: Duration::from_secs(config.uploads.idle_secs.max(1).into()),
        ..web::Config::default()
    }
}

/// The interface that sessions use.
fn interface(config: &Config) -> Result<Interface, RunError> {
    let Some(group) = config.groups.iter().next() else {
        return Err(RunError::Interface("no group to serve on".into()));
    };
    let chosen =
        GroupAddress::new(group.into(), 1).map_err(|error| error.to_string()).and_then(|group| {
            Interface::select(&config.interface, &group).map_err(|error| error.to_string())
        });
    chosen.map_err(RunError::Interface)
}
fn start_querier(config: &Config) -> Result<Option<(QuerierThread, Ipv4Addr)>, RunError> {
    if !config.igmp_querier {
        return Ok(None);
    }
    let interface = interface(config)?;
    let querier = QuerierThread::start(&interface, QUERY_INTERVAL)
        .map_err(|error| RunError::Interface(error.to_string()))?;
    let own = interface.addresses().iter().find_map(|own| match own.ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    Ok(own.map(|own| (querier, own)))
}

/// Time between two looks for leftovers; they are kept for a day.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Time between two IGMP queries: that of RFC 2236, section 8.2.
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
