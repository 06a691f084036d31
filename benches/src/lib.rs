//! Benchmarks live in `benches/`; `cargo bench -p benches` runs them.
