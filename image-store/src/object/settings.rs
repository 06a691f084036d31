//! Where an object store is, and how to get at it.
//!
//! What it owns: the location `s3://bucket/prefix`, and the settings, which come from the usual
//! `AWS_*` variables of the environment and from the configuration. What it never does: let a
//! secret into a message.

use crate::{StoreError, StoreOptions};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use std::time::Duration;

/// How locations of object stores start.
pub(crate) const SCHEME: &str = "s3://";

/// How long one request may take. The library's 30 s would be too short for a part of an image on a
/// slow line.
const REQUEST_TIMEOUT: &str = "300s";

/// How often a request is tried again, and for how long: an image is being served meanwhile.
const RETRIES_MAX: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// A store's place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Location {
    pub(super) bucket: String,
    /// Without slashes at its ends.
    pub(super) prefix: String,
}

impl Location {
    pub(super) fn parse(location: &str) -> Result<Self, StoreError> {
        let wrong = |why: &str| StoreError::Location { location: location.into(), why: why.into() };
        let rest = location.strip_prefix(SCHEME).unwrap_or(location);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(is_usual) {
            return Err(wrong("no name of a bucket; give s3://bucket or s3://bucket/prefix"));
        }
        let prefix = prefix.trim_matches('/');
        if Path::parse(prefix).is_err() {
            return Err(wrong("the prefix has an empty part, `.`, `..` or a control character"));
        }
        Ok(Self { bucket: bucket.into(), prefix: prefix.into() })
    }
}

/// A client for the bucket.
pub(super) fn connect(
    location: &str,
    place: &Location,
    options: &StoreOptions,
) -> Result<AmazonS3, StoreError> {
    let wrong = |why: String| StoreError::Location { location: location.into(), why };
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = AmazonS3Builder::from_env();
    if std::env::var_os("AWS_TIMEOUT").is_none() {
        builder = builder.with_config(timeout, REQUEST_TIMEOUT);
    }
    for (name, value) in &options.settings {
        let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().map_err(|_| {
            wrong(format!("no setting is called {name}; they are named as AWS_REGION is"))
        })?;
        builder = builder.with_config(key, value);
    }
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.starts_with("http://")) {
        let allowed = builder
            .get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp))
            .is_some_and(|allowed| allowed == "true");
        if !allowed && !is_loopback(&endpoint) {
            return Err(wrong(format!(
                "the endpoint {endpoint} is not encrypted; use https, or set AWS_ALLOW_HTTP=true \
                 on a network that you trust"
            )));
        }
        builder = builder.with_allow_http(true);
    }
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    };
    builder
        .with_bucket_name(&place.bucket)
        .with_retry(retry)
        .build()
        .map_err(|error| wrong(format!("cannot use this object store: {error}")))
}

/// True for an address that does not leave this machine.
fn is_loopback(endpoint: &str) -> bool {
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_name_a_bucket_and_perhaps_a_prefix() {
        let parsed = |text| Location::parse(text).map(|l| (l.bucket, l.prefix)).ok();
        let pair = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(parsed("s3://images"), pair("images", ""));
        assert_eq!(parsed("s3://images/"), pair("images", ""));
        assert_eq!(parsed("s3://images/a/b/"), pair("images", "a/b"));
        for wrong in ["s3://", "s3:///x", "s3://a b/x", "s3://a/x//y", "s3://a/../y"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_clear() {
        for (endpoint, own) in [
            ("http://127.0.0.1:5000", true),
            ("http://127.8.0.1/x", true),
            ("http://[::1]:5000", true),
            ("http://localhost:9000/", true),
            ("http://10.0.0.1:9000", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1@example.org/", false),
            ("http://127.0.0.1.example.org/", false),
        ] {
            assert_eq!(is_loopback(endpoint), own, "{endpoint}");
        }
        let place = Location::parse("s3://b").unwrap();
        let with = |settings: &[(&str, &str)]| StoreOptions {
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..StoreOptions::default()
        };
        let clear = ("AWS_ENDPOINT", "http://10.0.0.1:9000");
        let error = connect("s3://b", &place, &with(&[clear])).unwrap_err();
        assert!(error.to_string().contains("AWS_ALLOW_HTTP"), "{error}");
        connect("s3://b", &place, &with(&[clear, ("AWS_ALLOW_HTTP", "true")])).unwrap();
        let error = connect("s3://b", &place, &with(&[("AWS_NONSENSE", "1")])).unwrap_err();
        assert!(error.to_string().contains("AWS_NONSENSE"), "{error}");
    }
}
