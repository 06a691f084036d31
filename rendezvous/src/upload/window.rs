//! The bytes of an upload that may have to be sent again.
//!
//! What it owns: everything that was written and not acknowledged, and how much of it this
//! connection has carried. What it never does: IO.

use std::collections::VecDeque;

/// A stretch of the file: from the first byte that the server may lack to the last one written.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Pieces, one behind the other; the first may be partly acknowledged.
    pieces: VecDeque<Vec<u8>>,
    /// Offset of the first byte of the first piece in the file.
    pieces_at: u64,
    /// Bytes before this are safe at the server.
    durable: u64,
    /// Bytes before this were sent.
    sent: u64,
    /// The end of what was written.
    end: u64,
}

/// The server names an offset that this sender cannot go on from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OutOfWindow;

impl Window {
    /// The first byte that is kept.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// The end of what was written.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held in memory.
    pub(super) fn held_bytes(&self) -> u64 {
        self.end.saturating_sub(self.pieces_at)
    }

    /// True when nothing waits to be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.end
    }

    /// Adds what follows.
    pub(super) fn append(&mut self, piece: Vec<u8>) {
        self.end = self.end.saturating_add(len(&piece));
        self.pieces.push_back(piece);
    }

    /// The bytes to be sent next, at most a piece.
    pub(super) fn next(&self) -> Option<&[u8]> {
        let mut at = self.pieces_at;
        for piece in &self.pieces {
            let end = at.saturating_add(len(piece));
            if self.sent < end {
                let from = usize::try_from(self.sent.saturating_sub(at)).unwrap_or(usize::MAX);
                return piece.get(from..);
            }
            at = end;
        }
        None
    }

    /// So many bytes more were sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent = self.sent.saturating_add(bytes).min(self.end);
    }

    /// The server has everything before `offset` for good. An old acknowledgement changes nothing.
    pub(super) fn acknowledge(&mut self, offset: u64) -> Result<(), OutOfWindow> {
        if offset > self.sent {
            return Err(OutOfWindow);
        }
        self.durable = self.durable.max(offset);
        while let Some(first) = self.pieces.front() {
            let end = self.pieces_at.saturating_add(len(first));
            if end > self.durable {
                break;
            }
            self.pieces_at = end;
            self.pieces.pop_front();
        }
        Ok(())
    }

    /// A new connection goes on at `offset`.
    pub(super) fn go_on_at(&mut self, offset: u64) -> Result<(), OutOfWindow> {
        if offset < self.durable || offset > self.end {
            return Err(OutOfWindow);
        }
        self.sent = offset;
        self.acknowledge(offset)
    }
}

fn len(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(window: &mut Window) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(next) = window.next() {
            let next = next.to_vec();
            window.advance(next.len());
            taken.extend(next);
        }
        taken
    }

    #[test]
    fn what_is_not_acknowledged_can_be_sent_again() {
        let mut window = Window::default();
        window.append(vec![1; 4]);
        window.append(vec![2; 4]);
        assert_eq!(take(&mut window), [1, 1, 1, 1, 2, 2, 2, 2]);
        assert!(window.is_sent());
        window.acknowledge(5).unwrap();
        assert_eq!((window.durable(), window.held_bytes()), (5, 4));
        window.append(vec![3; 2]);
        assert_eq!(window.go_on_at(4), Err(OutOfWindow));
        assert_eq!(window.go_on_at(11), Err(OutOfWindow));
        window.go_on_at(6).unwrap();
        assert_eq!(take(&mut window), [2, 2, 3, 3]);
        window.acknowledge(3).unwrap();
        assert_eq!(window.durable(), 6);
        window.acknowledge(10).unwrap();
        assert_eq!((window.held_bytes(), window.end()), (0, 10));
    }

    #[test]
    fn nobody_acknowledges_what_was_not_sent() {
        let mut window = Window::default();
        window.append(vec![1; 4]);
        assert_eq!(window.acknowledge(1), Err(OutOfWindow));
        window.go_on_at(2).unwrap();
        assert_eq!(take(&mut window), [1, 1]);
    }

    proptest::proptest! {
        #[test]
        fn a_server_that_forgets_gets_the_file(
            pieces in proptest::collection::vec(1usize..9, 1..20),
            steps in proptest::collection::vec((0u64..20, 0u64..20), 0..40),
        ) {
            let mut window = Window::default();
            let (mut file, mut server) = (Vec::<u8>::new(), Vec::<u8>::new());
            let mut steps = steps.into_iter();
            for length in pieces {
                let piece: Vec<u8> =
                    (file.len()..file.len() + length).map(|n| u8::try_from(n).unwrap()).collect();
                file.extend(&piece);
                window.append(piece);
                server.extend(take(&mut window));
                if let Some((durable, kept)) = steps.next() {
                    let all = u64::try_from(server.len()).unwrap();
                    let durable = durable.min(all);
                    window.acknowledge(durable).unwrap();
                    let kept = (window.durable() + kept).min(all);
                    server.truncate(usize::try_from(kept).unwrap());
                    window.go_on_at(kept).unwrap();
                    server.extend(take(&mut window));
                }
                proptest::prop_assert_eq!(&server, &file);
            }
        }
    }
}
