//! Sizes of the kernel's buffers: as large as wanted where the system allows, and what to do where
//! it does not.
//!
//! What it owns: the order of attempts (past the limit as root, else up to it) and the comparison
//! with what was wanted. What it never does: change a sysctl.

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;
use std::fmt;
use std::io;

/// Which of a socket's two buffers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Datagrams that arrived and were not read yet.
    Receive,
    /// Datagrams sent that the device has not taken yet.
    Send,
}

impl Direction {
    const fn sysctl(self) -> &'static str {
        match self {
            Self::Receive => "net.core.rmem_max",
            Self::Send => "net.core.wmem_max",
        }
    }
}

/// The size of one kernel buffer. Its text form says how to make it as large as wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BufferSize {
    /// Which buffer.
    pub direction: Direction,
    /// Bytes asked for.
    pub wanted_bytes: usize,
    /// Bytes granted, on the scale of `wanted_bytes` and of the sysctl (the kernel keeps twice that
    /// for its bookkeeping, which counts against it).
    pub effective_bytes: usize,
}

impl BufferSize {
    /// True when the system granted less than was wanted.
    pub const fn is_small(&self) -> bool {
        self.effective_bytes < self.wanted_bytes
    }
}

impl fmt::Display for BufferSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (direction, sysctl) = match self.direction {
            Direction::Receive => {
                ("receive", "datagrams are lost when the program is late for a moment")
            }
            Direction::Send => ("send", "sending stops early and often"),
        };
        write!(f, "the kernel's {direction} buffer is {} bytes", self.effective_bytes)?;
        if self.is_small() {
            let (wanted, name) = (self.wanted_bytes, self.direction.sysctl());
            write!(
                f,
                " where {wanted} were wanted, so {sysctl}; raise the limit: `sysctl -w \
                 {name}={wanted}`"
            )?;
        }
        Ok(())
    }
}

/// Makes a buffer as large as wanted, or as the system allows.
pub(crate) fn enlarge(
    socket: &Socket,
    direction: Direction,
    wanted_bytes: usize,
) -> io::Result<BufferSize> {
    // The kernel doubles what it is given and keeps it in an int.
    let asked = wanted_bytes.min(1 << 29);
    let effective_bytes = match direction {
        Direction::Receive => {
            if setsockopt(socket, sockopt::RcvBufForce, &asked).is_err() {
                socket.set_recv_buffer_size(asked)?;
            }
            socket.recv_buffer_size()?
        }
        Direction::Send => {
            if setsockopt(socket, sockopt::SndBufForce, &asked).is_err() {
                socket.set_send_buffer_size(asked)?;
            }
            socket.send_buffer_size()?
        }
    } / 2;
    Ok(BufferSize { direction, wanted_bytes, effective_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};

    #[test]
    fn a_small_size_is_granted_exactly() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        for direction in [Direction::Receive, Direction::Send] {
            let size = enlarge(&socket, direction, 100_000).unwrap();
            assert_eq!((size.effective_bytes, size.is_small()), (100_000, false));
        }
    }

    #[test]
    fn the_warning_names_the_sysctl_and_the_command() {
        let receive = BufferSize {
            direction: Direction::Receive,
            wanted_bytes: 1 << 24,
            effective_bytes: 212_992,
        };
        let text = receive.to_string();
        assert!(
            receive.is_small() && text.contains("sysctl -w net.core.rmem_max=16777216"),
            "{text}"
        );
        let send = BufferSize { direction: Direction::Send, ..receive };
        assert!(send.to_string().contains("sysctl -w net.core.wmem_max=16777216"), "{send}");
        let enough = BufferSize { effective_bytes: 1 << 24, ..receive };
        assert!(!enough.is_small() && !enough.to_string().contains("sysctl"), "{enough}");
    }

    #[test]
    fn more_than_the_system_can_is_reported_as_small() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let size = enlarge(&socket, Direction::Receive, usize::MAX).unwrap();
        assert!(size.is_small() && size.effective_bytes >= 200_000, "{size}");
    }
}
