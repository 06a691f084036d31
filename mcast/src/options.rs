//! How a group socket is set up, with defaults that need no thought.

/// Settings of a [`crate::GroupSocket`], all with a default.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Routers that multicast may cross plus one (IPv4 TTL, IPv6 hop limit). Deployed peers use 5.
    /// Unicast and broadcast keep the system's default.
    pub ttl: u8,
    /// Whether other sockets on this machine hear our multicast. Deployed peers say no, so that
    /// several programs on one machine do not hear each other; on the loopback interface it is
    /// always so.
    pub multicast_loop: bool,
    /// Payload and bookkeeping that the kernel may queue for us to receive, in bytes.
    pub receive_buffer_bytes: usize,
    /// Payload and bookkeeping that the kernel may queue for us to send, in bytes.
    pub send_buffer_bytes: usize,
    /// Whether batches are handed to the kernel whole (UDP_SEGMENT) when it can cut them up.
    pub segmentation: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: 5,
            multicast_loop: false,
            // A tenth of a second of 1 Gb/s in full frames, which cost twice their payload.
            receive_buffer_bytes: 32 << 20,
            // 64 batches of the largest size; pacing keeps it nearly empty.
            send_buffer_bytes: 4 << 20,
            segmentation: true,
        }
    }
}
