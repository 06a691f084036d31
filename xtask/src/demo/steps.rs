//! What the demo prints.

use std::time::Duration;

/// Begins a step.
pub(super) fn step(title: &str) {
    println!("\n== {title}");
}

/// Says a line inside a step.
pub(super) fn say(line: &str) {
    println!("   {line}");
}

/// Bytes as mebibytes, for people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// A rate in mebibytes a second.
pub(super) fn rate(bytes: u64, time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{:.1} s, {} MiB/s", time.as_secs_f64(), bytes / 1024 * 1000 / millis / 1024)
}
