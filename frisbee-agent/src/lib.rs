//! frisbee-agent: what a booted node does.
//!
//! ```text
//! kernel command line ─► orders ─┐                ┌─► worker ─► run ─► frisbee-client, imagezip,
//! control server ─► control ─────┼─► agent: ──────┤               ▲   run-hooks
//!                     ▲          │   one event    │               └── their JSON lines
//!                     └─ replies ┘   at a time    └─► finish: reboot, power off, kexec
//! ```
//! What it is: the agent and its parts as a library, so that tests run it in their own process with a
//! machine of their own; and the program. What it owns: understanding orders, choosing the disk,
//! trying again, telling what came of it, and the end. What it never does: touch what is on a disk
//! (the programs do), or know how an image travels.

pub mod agent;
pub mod args;
pub mod cancel;
pub mod check;
pub mod choose;
pub mod command_line;
pub mod control;
pub mod disks;
pub mod failure;
pub mod finish;
pub mod kexec;
pub mod launch;
pub mod machine;
pub mod orders;
pub mod peak;
pub mod program_line;
pub mod run;
pub mod say;
pub mod selector;
pub mod stream;
mod sys;
pub mod words;
pub mod worker;
