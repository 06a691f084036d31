//! Numbers for Prometheus.
//!
//! What it owns: names, types and labels of the series. Labels come from fixed sets (routes,
//! status codes, results), never from requests, so that their number is bounded.

use crate::access::Caller;
use crate::api;
use crate::backend::{Action, Backend};
use crate::limits::Connections;
use crate::problem::Problem;
use crate::routes::Shared;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;

/// Requests by route and status.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpCounts {
    by_route: Family<Labels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    route: String,
    status: u16,
}

impl HttpCounts {
    /// Counts an answer. `route` is the pattern of the route, not the path that was asked for.
    pub(crate) fn count(&self, route: &str, status: StatusCode) {
        let labels = Labels { route: route.to_owned(), status: status.as_u16() };
        self.by_route.get_or_create(&labels).inc();
    }
}

/// `GET /metrics`
pub(crate) async fn metrics<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    caller: Caller,
) -> Result<Response, Problem> {
    shared.check(&caller, Action::Look, None)?;
    // A store that cannot be listed now must not hide the other numbers.
    let images = shared.backend.images().await.ok();
    let image_bytes = |images: &Vec<api::Image>| images.iter().map(|image| image.bytes).sum();
    let numbers = Numbers {
        host: shared.backend.host(),
        counters: shared.backend.counters(),
        sessions: shared.backend.sessions(),
        images: images.as_ref().map(|images| (count(images.len()), image_bytes(images))),
        uploads: shared.backend.uploads().len(),
        connections: Arc::clone(&shared.connections),
    };
    let mut registry = Registry::with_prefix("frisbee");
    registry.register(
        "http_requests",
        "HTTP requests answered, by route and status",
        shared.http_counts.by_route.clone(),
    );
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).map_err(|_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "failed", "the numbers could not be written")
    })?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The host's numbers at one moment.
#[derive(Debug)]
struct Numbers {
    host: api::Host,
    counters: api::Counters,
    sessions: Vec<api::Session>,
    /// Their number and their bytes, when they can be listed.
    images: Option<(u64, u64)>,
    uploads: usize,
    connections: Arc<Connections>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.gauges(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.rendezvous(&mut encoder)
    }
}

impl Numbers {
    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sum = |number: fn(&api::Session) -> u64| self.sessions.iter().map(number).sum::<u64>();
        let gauges = [
            ("sessions", "Sessions that are running", count(self.sessions.len())),
            ("clients_loading", "Clients that are loading", sum(|s| s.clients_loading)),
            (
                "clients_in_trouble",
                "Clients of running sessions that reported trouble",
                sum(|s| s.clients_in_trouble),
            ),
            ("blocks_waiting", "Blocks asked for and not sent yet", sum(|s| s.blocks_waiting)),
            (
                "sent_bits_per_second",
                "Bits per second on the wire now",
                sum(|s| s.sent_bits_per_sec),
            ),
            (
                "allowed_bits_per_second",
                "Bits per second that running sessions may send",
                sum(|s| s.rate_bits_per_sec),
            ),
            (
                "rate_limit_bits_per_second",
                "Bits per second that all sessions together may send",
                self.host.rate_bits_per_sec,
            ),
            ("uploads_running", "Uploads that are going on", count(self.uploads)),
            ("http_connections", "HTTP connections that are open", count(self.connections.open())),
            ("start_time_seconds", "When the host started, since 1970", self.host.started_secs),
        ];
        let images = self.images.map(|(images, bytes)| {
            [
                ("images", "Images that are here", images),
                ("image_bytes", "Bytes of all images", bytes),
            ]
        });
        for (name, help, value) in gauges.into_iter().chain(images.into_iter().flatten()) {
            one(encoder, name, help, None, &ConstGauge::new(value))?;
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = &self.counters;
        let bytes = Some(&Unit::Bytes);
        let series = [
            ("sessions_started", "Sessions that began", None, counters.sessions_started),
            ("clients_joined", "Clients that joined", None, counters.clients_joined),
            ("clients_done", "Clients that left with the whole image", None, counters.clients_done),
            ("troubles", "Troubles that clients told of", None, counters.troubles),
            ("sent", "Bytes of blocks sent", bytes, counters.bytes_sent),
            ("blocks_sent", "Blocks sent", None, counters.blocks_sent),
            (
                "blocks_repeated",
                "Blocks sent again because a client missed them: over blocks sent, the loss",
                None,
                counters.blocks_repeated,
            ),
            ("datagrams_bad", "Datagrams that made no sense", None, counters.datagrams_bad),
            ("kernel_drops", "Datagrams that the kernel dropped", None, counters.kernel_drops),
            ("read_errors", "Reads of images that failed", None, counters.read_errors),
            ("uploads_published", "Uploads that were published", None, counters.uploads_published),
            ("uploads_failed", "Uploads that were not published", None, counters.uploads_failed),
            ("upload", "Bytes that uploads brought", bytes, counters.upload_bytes),
            (
                "http_connections_refused",
                "HTTP connections beyond the limits",
                None,
                self.connections.refused(),
            ),
        ];
        for (name, help, unit, value) in series {
            one(encoder, name, help, unit, &ConstCounter::new(value))?;
        }
        Ok(())
    }

    fn rendezvous(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = &self.counters.rendezvous;
        let results = [
            ("ok", counts.ok),
            ("no_image", counts.no_image),
            ("refused", counts.refused),
            ("try_again", counts.try_again),
            ("bad", counts.bad),
            ("failed", counts.failed),
        ];
        let help = "Rendezvous requests, by result";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut encoder = encoder.encode_descriptor("rendezvous_requests", help, None, kind)?;
        for (result, value) in results {
            let label = ResultLabel { result };
            ConstCounter::new(value).encode(encoder.encode_family(&label)?)?;
        }
        Ok(())
    }
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
