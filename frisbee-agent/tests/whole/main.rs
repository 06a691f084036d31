//! The whole agent in this process, with machines made of files.

mod control;
mod kernel_line;
mod kexec;
mod node;
mod real;
mod streams;
