//! The gate's logs: on standard error, beside those of its command. It never waits for anybody who reads them: a pipe that is
//! full would hold up the very thread that ends the command. What does not fit is dropped.

use std::{
    env,
    io::{self, Write},
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::log_lines::{machines, people};

/// `json`, or `text` as without it.
pub const FORM: &str = "FAILOVER_LOG";
/// Which lines, as `info` or `failover=debug,warn`.
const LEVELS: &str = "RUST_LOG";

/// So many lines wait for a reader.
const LINES: usize = 1024;

enum Entry {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// One line: written when it is dropped, by a thread of its own.
struct Unhurried(Vec<u8>);

impl Write for Unhurried {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unhurried {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            let _ = queue.try_send(Entry::Line(std::mem::take(&mut self.0)));
        }
    }
}

fn line() -> Unhurried {
    Unhurried(Vec::new())
}

/// Waits for what is not written yet, but not for long.
pub fn finish() {
    let (written, all) = sync_channel(1);
    if QUEUE.get().is_some_and(|queue| queue.try_send(Entry::Flush(written)).is_ok()) {
        let _ = all.recv_timeout(Duration::from_secs(1));
    }
}

/// Starts the logs; a second time changes nothing.
pub fn init() {
    let (queue, entries) = sync_channel(LINES);
    let writer = thread::Builder::new().name("log".into()).spawn(move || {
        for entry in entries {
            match entry {
                Entry::Line(line) => drop(io::stderr().write_all(&line)),
                Entry::Flush(written) => drop(written.try_send(())),
            }
        }
    });
    if writer.is_ok() {
        let _ = QUEUE.set(queue);
    }
    let levels = env::var(LEVELS).ok().and_then(|levels| levels.parse::<Targets>().ok());
    let registry =
        tracing_subscriber::registry().with(levels.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)));
    let _ = if env::var(FORM).is_ok_and(|form| form.eq_ignore_ascii_case("json")) {
        registry.with(machines(line)).try_init()
    } else {
        registry.with(people(line, false)).try_init()
    };
}
