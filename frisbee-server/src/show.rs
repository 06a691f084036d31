//! What the operator sees: lines, a live table on a terminal, or JSON.
//!
//! What it owns: a thread that prints reports as they come, so that a slow terminal or a full pipe
//! never holds up the network. Results go to standard output, the rest to standard error.

use crossbeam_channel::Receiver;
use frisbee_server::report::{ClientStatus, Progress, Started};
use frisbee_server::{Ended, Report, Summary};
use imagezip::units::HumanBytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::thread::JoinHandle;

/// Clients in the live table; the slowest, because those are the ones to look after.
const ROWS_MAX: usize = 12;

/// The printing thread.
pub(crate) struct Show {
    thread: JoinHandle<()>,
}

impl Show {
    /// Starts printing what comes.
    pub(crate) fn start(
        reports: Receiver<Report>,
        json: bool,
        quiet: bool,
    ) -> std::io::Result<Self> {
        let bar = (!json && !quiet && stderr().is_terminal()).then(live_table);
        let thread = std::thread::Builder::new().name("show".into()).spawn(move || {
            for report in reports {
                match json {
                    true => print_json(&report),
                    false => print_text(&report, quiet, bar.as_ref()),
                }
            }
        })?;
        Ok(Self { thread })
    }

    /// Waits until everything is printed; the sender must be gone.
    pub(crate) fn finish(self) {
        // A panic there has been printed already.
        let _ = self.thread.join();
    }
}

fn live_table() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

fn print_json(report: &Report) {
    let Ok(line) = serde_json::to_string(report) else { return };
    let mut out = stdout().lock();
    // Whoever reads may be gone; the clients still want their image.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn print_text(report: &Report, quiet: bool, bar: Option<&ProgressBar>) {
    let say = |text: String| match bar {
        Some(bar) => bar.suspend(|| eprintln!("{text}")),
        None => eprintln!("{text}"),
    };
    match report {
        Report::Start(started) => {
            started
                .warnings
                .iter()
                .for_each(|text| say(format!("frisbee-server: warning: {text}")));
            if !quiet {
                say(start_line(started));
            }
        }
        _ if quiet => {}
        Report::Joined(joined) => say(format!("{} joined", joined.address)),
        Report::Left(client) => say(left_line(client)),
        Report::Progress(progress) => {
            if let Some(bar) = bar {
                bar.set_message(table(progress));
            }
        }
        Report::Summary(summary) => {
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            print!("{}", summary_text(summary));
        }
    }
}

fn start_line(started: &Started) -> String {
    let kind = started.format.as_ref().map_or("file".into(), |format| format!("image, {format}"));
    let rate = match started.automatic {
        true => format!("automatic rate, first {}", Bits(started.bits_per_sec)),
        false => format!("at {}", Bits(started.bits_per_sec)),
    };
    format!(
        "serving {} ({kind}, {}) by {} on {} port {}, interface {} ({}), {rate}",
        started.image.display(),
        HumanBytes(started.image_bytes),
        started.kind,
        started.group,
        started.port,
        started.interface,
        started.address,
    )
}

fn left_line(client: &ClientStatus) -> String {
    format!("{} left after {}", client.address, Seconds(client.millis))
}

/// The live table: a line for the server, then the slowest clients.
fn table(progress: &Progress) -> String {
    let mut text = format!(
        "{:>9}  {} of {} allowed, {} clients, {} sent, {} repeated",
        Seconds(progress.millis).to_string(),
        Bits(progress.sent_bits_per_sec),
        Bits(progress.rate_bits_per_sec),
        progress.clients.len(),
        Share(progress.totals.blocks_sent, progress.image_blocks),
        Share(progress.totals.blocks_repeated, progress.image_blocks),
    );
    let mut clients: Vec<&ClientStatus> = progress.clients.iter().collect();
    clients.sort_by_key(|client| client.chunks_done.unwrap_or(0));
    for client in clients.iter().take(ROWS_MAX) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}", row(client));
    }
    if clients.len() > ROWS_MAX {
        let _ = write!(text, "\n... and {} faster ones", clients.len() - ROWS_MAX);
    }
    text
}

fn row(client: &ClientStatus) -> String {
    let done = match client.chunks_done {
        Some(done) => Share(done.into(), client.chunks.into()).to_string(),
        None => "?".into(),
    };
    let rate = client.bits_per_sec.map_or("?".into(), |rate| Bits(rate).to_string());
    format!(
        "  {:<28} {done:>6} {rate:>11}  loss {:>6}  limited by {}{}",
        client.address.to_string(),
        Share(client.loss_millionths, 1_000_000).to_string(),
        client.limited_by,
        if client.laggard { " (left behind)" } else { "" },
    )
}

fn summary_text(summary: &Summary) -> String {
    let mut text = String::new();
    for client in &summary.clients {
        let state = match client.present {
            true => "still loading after",
            false => "left after",
        };
        let rate = client.bits_per_sec.map_or("?".into(), |rate| Bits(rate).to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<28} {state} {}, {rate}, {} requests, {} blocks repeated",
            client.address.to_string(),
            Seconds(client.millis),
            client.requests,
            client.blocks_repeated,
        );
    }
    let totals = &summary.totals;
    let why = match summary.ended {
        Ended::Idle => "nobody asked for anything any more",
        Ended::Empty => "the last client left",
        Ended::Interrupted if summary.loading > 0 => "interrupted while clients were loading",
        Ended::Interrupted => "interrupted",
    };
    let _ = writeln!(
        text,
        "{} clients, {} blocks sent for {} in the file ({}), {} repeated, {} requests; {why} after {}",
        summary.clients.len(),
        totals.blocks_sent,
        summary.image_blocks,
        Share(totals.blocks_sent, summary.image_blocks),
        totals.blocks_repeated,
        totals.requests,
        Seconds(summary.millis),
    );
    let troubles = [
        (totals.datagrams_bad, "bad datagrams ignored"),
        (summary.kernel_drops, "datagrams dropped by the kernel for lack of buffer (see -k)"),
        (summary.read_errors, "reads of the file failed"),
    ];
    for (number, what) in troubles.into_iter().filter(|(number, _)| *number > 0) {
        let _ = writeln!(text, "{number} {what}");
    }
    text
}

/// Bits per second for people, in decimal units.
struct Bits(u64);

impl std::fmt::Display for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, name) = match self.0 {
            0..1_000_000 => (1_000, "kb/s"),
            1_000_000..1_000_000_000 => (1_000_000, "Mb/s"),
            _ => (1_000_000_000, "Gb/s"),
        };
        write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit)
    }
}

/// Milliseconds as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{} s", self.0 / 1000, self.0 % 1000 / 100)
    }
}

/// One number as a percentage of another.
struct Share(u64, u64);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = u128::from(self.0) * 1000 / u128::from(self.1.max(1));
        write!(f, "{}.{}%", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frisbee_server::report::Totals;

    fn client(number: u8, done: Option<u32>) -> ClientStatus {
        ClientStatus {
            address: ([10, 0, 0, number], 64494).into(),
            id: number.into(),
            unicast: false,
            present: true,
            millis: 12_345,
            chunks_done: done,
            chunks: 200,
            bits_per_sec: done.map(|done| u64::from(done) * 10_000_000),
            requests: 5,
            blocks_repeated: 2,
            loss_millionths: 15_000,
            limited_by: "disk",
            laggard: number == 1,
        }
    }

    #[test]
    fn the_table_shows_the_slowest_and_fits_a_screen() {
        let mut clients: Vec<_> =
            (1..=40).map(|number| client(number, Some(number.into()))).collect();
        clients.reverse();
        let progress = Progress {
            millis: 61_000,
            rate_bits_per_sec: 1_000_000_000,
            sent_bits_per_sec: 940_500_000,
            image_blocks: 204_800,
            blocks_waiting: 1,
            totals: Totals { blocks_sent: 102_400, blocks_repeated: 2048, ..Totals::default() },
            kernel_drops: 0,
            read_errors: 0,
            clients,
        };
        let text = table(&progress);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("940.5 Mb/s of 1.0 Gb/s allowed, 40 clients, 50.0% sent, 1.0%"));
        assert!(
            lines[1].contains("10.0.0.1:64494") && lines[1].contains("(left behind)"),
            "{text}"
        );
        assert!(lines[1].contains("0.5%") && lines[1].contains("loss   1.5%"), "{text}");
        assert_eq!(lines.len(), ROWS_MAX + 2);
        assert!(lines.last().unwrap().contains("28 faster"));
        assert!(row(&client(7, None)).contains('?'));
    }

    #[test]
    fn the_summary_says_who_and_why() {
        let summary = Summary {
            ended: Ended::Interrupted,
            loading: 1,
            millis: 2000,
            sending_millis: 1000,
            image_bytes: 1 << 20,
            image_blocks: 1024,
            totals: Totals { blocks_sent: 1100, requests: 4, ..Totals::default() },
            kernel_drops: 3,
            read_errors: 0,
            clients: vec![client(1, None)],
        };
        let text = summary_text(&summary);
        assert!(text.contains("10.0.0.1:64494") && text.contains("still loading after 12.3 s"));
        assert!(text.contains("1100 blocks sent for 1024 in the file (107.4%)"), "{text}");
        assert!(text.contains("interrupted while clients were loading after 2.0 s"), "{text}");
        assert!(text.contains("3 datagrams dropped") && !text.contains("reads of"), "{text}");
    }
}
