//! What systemd is notified of: that it runs, what it waits for, and that its loop turns (sd_notify(3)).

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::port::Board;
use crate::domain::one_line;

/// How often it is looked whether the words have changed, where no watchdog asks for more.
const EVERY: Duration = Duration::from_secs(10);

pub struct Systemd {
    socket: UnixDatagram,
    to: SocketAddr,
    /// How long the loop may be silent before it is killed.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// The one that has started this process and wants to be notified.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        // Also set for what a process of its starts, which is then not meant.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        match Self::at(name.as_bytes(), watchdog) {
            Ok(systemd) => Some(systemd),
            Err(error) => {
                tracing::warn!(%error, "systemd is not notified: NOTIFY_SOCKET cannot be used");
                None
            }
        }
    }

    fn at(name: &[u8], watchdog: Option<Duration>) -> io::Result<Self> {
        let to = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop the gate.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to, watchdog })
    }

    fn send(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.to) {
            tracing::debug!(%error, "systemd was not notified");
        }
    }

    /// Notifies until it is stopped. It is ready as soon as it runs: waiting for the ledger is no failure of a start.
    pub async fn run(self, board: Arc<Board>, stopped: CancellationToken) {
        let every = self.watchdog.map_or(EVERY, |limit| (limit / 2).min(EVERY));
        let mut ticks = interval_at(Instant::now(), every);
        let mut said = String::new();
        self.send("READY=1");
        loop {
            tokio::select! {
                () = stopped.cancelled() => break,
                _ = ticks.tick() => {}
            }
            if self.watchdog.is_some() && board.turns() {
                self.send("WATCHDOG=1");
            }
            let words = one_line(&board.status().to_string(), 300);
            if words != said {
                self.send(&format!("STATUS={words}"));
                said = words;
            }
        }
        self.send("STOPPING=1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::port::tests::waiting;

    #[tokio::test(start_paused = true)]
    async fn systemd_is_notified_of_the_state_and_of_a_loop_that_turns_and_not_of_one_that_hangs() {
        for kind in ["path", "abstract"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("notify");
            let (name, address) = match kind {
                "path" => (path.as_os_str().as_bytes().to_vec(), SocketAddr::from_pathname(&path).unwrap()),
                _ => {
                    let name = format!("failover-gate-test-{}", std::process::id());
                    (format!("@{name}").into_bytes(), SocketAddr::from_abstract_name(name).unwrap())
                }
            };
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            manager.set_nonblocking(true).unwrap();
            let next = || {
                let mut bytes = [0; 512];
                manager.recv(&mut bytes).ok().map(|count| String::from_utf8(bytes[..count].to_vec()).unwrap())
            };
            let (_shown, status) = tokio::sync::watch::channel(waiting());
            let board = Arc::new(Board::new(status));
            let systemd = Systemd::at(&name, Some(Duration::from_secs(4))).unwrap();
            let stopped = CancellationToken::new();
            let task = tokio::spawn(systemd.run(board.clone(), stopped.clone()));
            let second = || tokio::time::sleep(Duration::from_secs(1));
            second().await;
            assert_eq!((next().as_deref(), next().as_deref()), (Some("READY=1"), Some("WATCHDOG=1")));
            let words = next().unwrap();
            assert!(words.starts_with("STATUS=eth-0 at home waits"), "{words}");
            second().await;
            second().await;
            assert_eq!(
                (next().as_deref(), next()),
                (Some("WATCHDOG=1"), None),
                "words that are the same are not repeated"
            );
            board.hang();
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(next(), None, "then systemd kills it");
            stopped.cancel();
            task.await.unwrap();
            assert_eq!((next().as_deref(), next()), (Some("STOPPING=1"), None));
        }
    }
}
