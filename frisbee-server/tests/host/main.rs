//! The image host as its users meet it: a process, with real clients of both kinds.

mod get;
mod http;
mod limits;
mod network;
mod objects;
mod parent;
mod put;
mod restart;
mod support;
