//! What the v1 API says, as types that serialise to its JSON.
//!
//! What it owns: the names and units of every field. The host fills these; nothing here knows how.
//! Times of day are seconds since 1970, durations milliseconds or seconds as their names say,
//! rates bits per second, sizes bytes unless the name says blocks (1 KiB) or chunks (1 MiB).

use serde::Serialize;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

/// An image in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// Its name: a path below the image directory.
    pub name: String,
    /// Its size as a file.
    pub bytes: u64,
    /// When it was published.
    pub modified_secs: u64,
}

/// An image with what is known of its content.
#[derive(Clone, Debug, Serialize)]
pub struct ImageDetails {
    /// What a list says.
    #[serde(flatten)]
    pub image: Image,
    /// BLAKE3 digest of the whole file in hexadecimal digits, when the host knows it.
    pub blake3: Option<String>,
    /// The object that `imagedump --json` prints, without the chunks. Nothing for a file that is
    /// no image.
    pub dump: Option<Value>,
    /// Sessions that send it now.
    pub sessions: Vec<String>,
}

/// An upload that was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 digest of the whole file in hexadecimal digits.
    pub blake3: String,
    /// True when an image of this name was there before.
    pub replaced: bool,
}

/// An upload that is going on, whichever protocol brings it.
#[derive(Clone, Debug, Serialize)]
pub struct UploadStatus {
    /// The name it will get.
    pub name: String,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Bytes that there will be, when the sender said so.
    pub bytes_expected: Option<u64>,
    /// When it began.
    pub started_secs: u64,
}

/// A session: one image being sent to its clients.
#[derive(Clone, Debug, Serialize)]
pub struct Session {
    /// Names it in links; never used again for another session. Letters, digits and `-` only.
    pub id: String,
    /// The image.
    pub image: String,
    /// Where its clients meet.
    pub group: IpAddr,
    /// ... and the port.
    pub port: u16,
    /// `multicast`, `broadcast` or `unicast`.
    pub kind: String,
    /// The interface that it sends on.
    pub interface: String,
    /// When it began.
    pub started_secs: u64,
    /// Size of the image.
    pub image_bytes: u64,
    /// ... in blocks.
    pub image_blocks: u64,
    /// Bits per second allowed on the wire.
    pub rate_bits_per_sec: u64,
    /// Bits per second on the wire now.
    pub sent_bits_per_sec: u64,
    /// Blocks sent since it began.
    pub blocks_sent: u64,
    /// ... of them again, because a client missed them.
    pub blocks_repeated: u64,
    /// Blocks asked for and not sent yet.
    pub blocks_waiting: u64,
    /// Requests heard.
    pub requests: u64,
    /// Datagrams that made no sense.
    pub datagrams_bad: u64,
    /// Datagrams that the kernel dropped before they were read.
    pub kernel_drops: u64,
    /// Reads of the image that failed.
    pub read_errors: u64,
    /// Clients that are loading.
    pub clients_loading: u64,
    /// Clients that left with the whole image.
    pub clients_done: u64,
    /// Clients that reported trouble, such as no multicast.
    pub clients_in_trouble: u64,
    /// Seconds until it ends when nobody asks for anything.
    pub idle_secs_left: Option<u64>,
    /// What works but not well, in sentences.
    pub warnings: Vec<String>,
}

/// How a client of a session is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// It has joined and did not report progress yet.
    Joined,
    /// It is loading.
    Loading,
    /// It left with the whole image.
    Done,
    /// It left, or was not heard of for long, without the whole image.
    Gone,
}

/// What limits a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Blocks that do not arrive.
    Network,
    /// Its disk, or decompression.
    Disk,
    /// The rate that the server sends at.
    Server,
    /// It does not say.
    Unknown,
}

/// What went wrong at a client, told by the client.
#[derive(Clone, Debug, Serialize)]
pub struct Trouble {
    /// `no_reply`, `no_data` or `stopped`.
    pub what: String,
    /// How long it waited.
    pub waited_secs: u64,
    /// True when it goes on by unicast.
    pub fallback: bool,
    /// When it said so.
    pub at_secs: u64,
}

/// A client of a session.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// Its address and port.
    pub address: SocketAddr,
    /// The number it gave itself.
    pub id: u32,
    /// Its name, when it told one.
    pub name: Option<String>,
    /// How it is doing.
    pub state: ClientState,
    /// True when it gets its blocks by unicast.
    pub unicast: bool,
    /// Milliseconds since it joined; for one that left, how long it took.
    pub millis: u64,
    /// Chunks that it has written, where it reports them.
    pub chunks_done: Option<u32>,
    /// Chunks of the image.
    pub chunks: u32,
    /// Bits of the image per second, where it reports.
    pub bits_per_sec: Option<u64>,
    /// Loss in the last half second, in millionths.
    pub loss_millionths: u64,
    /// Requests heard from it.
    pub requests: u64,
    /// Blocks sent again for it.
    pub blocks_repeated: u64,
    /// What limits it.
    pub limited_by: Stage,
    /// Too slow or too lossy to steer the rate; it catches up when the others are done.
    pub laggard: bool,
    /// Seconds until it has everything, at its rate so far.
    pub secs_left: Option<u64>,
    /// What went wrong, if anything.
    pub trouble: Option<Trouble>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A session began.
    SessionStarted {
        /// The session.
        session: String,
        /// Its image.
        image: String,
        /// Where its clients meet.
        group: IpAddr,
        /// ... and the port.
        port: u16,
    },
    /// A session ended.
    SessionEnded {
        /// The session.
        session: String,
        /// Its image.
        image: String,
        /// Why, in a few words.
        why: String,
    },
    /// A client joined.
    ClientJoined {
        /// The session.
        session: String,
        /// The client.
        client: SocketAddr,
        /// By unicast.
        unicast: bool,
    },
    /// A client left.
    ClientLeft {
        /// The session.
        session: String,
        /// The client.
        client: SocketAddr,
        /// With the whole image.
        done: bool,
        /// How long it took.
        millis: u64,
    },
    /// A client told of trouble.
    ClientTrouble {
        /// The session, when it is known.
        session: Option<String>,
        /// The client, by name or address.
        client: String,
        /// The image.
        image: String,
        /// What went wrong.
        trouble: Trouble,
    },
    /// An upload began.
    UploadStarted {
        /// Its name.
        name: String,
        /// Where it comes from.
        peer: IpAddr,
    },
    /// How far an upload is; at most once a second for each.
    UploadProgress {
        /// Its name.
        name: String,
        /// Bytes that arrived.
        bytes: u64,
        /// Bytes that there will be, when the sender said so.
        bytes_expected: Option<u64>,
    },
    /// An upload ended.
    UploadEnded {
        /// Its name.
        name: String,
        /// Bytes that arrived.
        bytes: u64,
        /// Nothing when it was published; otherwise why not.
        error: Option<String>,
    },
    /// An image was deleted.
    ImageDeleted {
        /// Its name.
        name: String,
    },
}

impl Event {
    /// The name that the stream of events gives it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionStarted { .. } => "session_started",
            Self::SessionEnded { .. } => "session_ended",
            Self::ClientJoined { .. } => "client_joined",
            Self::ClientLeft { .. } => "client_left",
            Self::ClientTrouble { .. } => "client_trouble",
            Self::UploadStarted { .. } => "upload_started",
            Self::UploadProgress { .. } => "upload_progress",
            Self::UploadEnded { .. } => "upload_ended",
            Self::ImageDeleted { .. } => "image_deleted",
        }
    }
}

/// The host as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// Its name, for the page.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started_secs: u64,
    /// Bits per second that all sessions together may send.
    pub rate_bits_per_sec: u64,
    /// The group that ORBIT's status names: of the first session, or the first that would be given.
    pub group: Option<IpAddr>,
    /// What works but not well, in sentences.
    pub warnings: Vec<String>,
}

/// What the host counted since it started, sessions that ended too. All of these only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Sessions that began.
    pub sessions_started: u64,
    /// Clients that joined.
    pub clients_joined: u64,
    /// Clients that left with the whole image.
    pub clients_done: u64,
    /// Troubles that clients told of.
    pub troubles: u64,
    /// Bytes of blocks sent.
    pub bytes_sent: u64,
    /// Blocks sent.
    pub blocks_sent: u64,
    /// ... of them again.
    pub blocks_repeated: u64,
    /// Datagrams that made no sense.
    pub datagrams_bad: u64,
    /// Datagrams that the kernel dropped.
    pub kernel_drops: u64,
    /// Reads of images that failed.
    pub read_errors: u64,
    /// Uploads that were published.
    pub uploads_published: u64,
    /// Uploads that were not.
    pub uploads_failed: u64,
    /// Bytes that uploads brought.
    pub upload_bytes: u64,
    /// Rendezvous requests by result.
    pub rendezvous: Rendezvous,
}

/// Rendezvous requests by result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendezvous {
    /// Answered with what was asked for.
    pub ok: u64,
    /// No such image.
    pub no_image: u64,
    /// Not allowed.
    pub refused: u64,
    /// Told to try again.
    pub try_again: u64,
    /// No request at all, or one that cannot be.
    pub bad: u64,
    /// Failed for a reason of ours.
    pub failed: u64,
}
