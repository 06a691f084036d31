//! Archives as no tar would make them. Layout: POSIX.1-2017, pax, "ustar Interchange Format".

/// A member of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: Vec<u8>,
    kind: u8,
    target: String,
    content: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

impl Entry {
    /// Any member, by its type flag.
    pub(crate) fn new(name: &str, kind: u8, target: &str) -> Self {
        Self {
            name: name.into(),
            kind,
            target: target.into(),
            content: Vec::new(),
            mode: 0o644,
            owner: (0, 0),
        }
    }

    pub(crate) fn file(name: &str, content: &[u8]) -> Self {
        Self { content: content.into(), ..Self::new(name, b'0', "") }
    }

    pub(crate) fn folder(name: &str, mode: u32) -> Self {
        Self { mode, ..Self::new(name, b'5', "") }
    }

    pub(crate) fn link(name: &str, target: &str) -> Self {
        Self::new(name, b'2', target)
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn owned(self, user: u32, group: u32) -> Self {
        Self { owner: (user, group), ..self }
    }

    fn header(&self) -> [u8; 512] {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.owner.0).as_bytes());
        put(116, format!("{:07o}\0", self.owner.1).as_bytes());
        put(124, format!("{:011o}\0", self.content.len()).as_bytes());
        put(136, b"14000000000\0");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.target.as_bytes());
        put(257, b"ustar\x0000");
        // Names that this machine has another number for.
        put(265, b"daemon");
        put(297, b"daemon");
        put(329, b"0000001\0");
        put(337, b"0000003\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

/// An archive of these members.
pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(entry.header());
        bytes.extend(&entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
