//! What happens to a datagram between two hosts.

use proto::random::Random;
use proto::time::Duration;

/// What the network does to everybody; chances in millionths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// One way, without jitter.
    pub delay: Duration,
    /// Random extra delay; makes reordering.
    pub jitter: Duration,
    /// A datagram is lost for one receiver.
    pub loss: u32,
    /// A datagram is lost for all receivers.
    pub common_loss: u32,
    /// A receiver enters a burst in which it loses everything.
    pub burst_start: u32,
    /// ... and leaves it.
    pub burst_end: u32,
    /// A datagram arrives twice.
    pub duplicate: u32,
    /// One bit of a datagram is flipped.
    pub flip: u32,
}

/// One host's connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Extra loss of what it receives, in millionths.
    pub loss: u32,
    /// Nothing arrives.
    pub deaf: bool,
    /// Nothing it sends arrives.
    pub mute: bool,
    /// It is in a burst of loss.
    pub in_burst: bool,
}

impl Network {
    /// True for a network without chance: what is sent arrives after the delay.
    pub fn is_plain(&self) -> bool {
        self.jitter == Duration::ZERO && self.duplicate == 0 && self.flip == 0
    }

    /// Whether a datagram reaches a receiver.
    pub fn arrives(&self, link: &mut Link, random: &mut Random) -> bool {
        if self.burst_start > 0 || link.in_burst {
            let change = if link.in_burst { self.burst_end.max(1) } else { self.burst_start };
            if random.chance(change) {
                link.in_burst = !link.in_burst;
            }
        }
        let lost = link.deaf
            || link.in_burst
            || self.loss > 0 && random.chance(self.loss)
            || link.loss > 0 && random.chance(link.loss);
        !lost
    }
}
