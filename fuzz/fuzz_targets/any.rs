//! The libFuzzer program of all targets: `TARGET=name` in the environment picks one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    RUN.get_or_init(|| {
        let name = std::env::var("TARGET").unwrap_or_default();
        let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        let target = fuzz::TARGETS.iter().find(|target| target.name == name);
        target.unwrap_or_else(|| panic!("TARGET={name:?}: must be one of {names:?}")).run
    })(data);
});
