//! The format: golden files of the deployed tools, the page's examples, and hostile chunks.

mod golden;
mod hostile;
mod page;
