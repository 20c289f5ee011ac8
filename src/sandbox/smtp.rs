//! A mail server that keeps what it is given: the far end of every mail in the sandbox and in tests.
//!
//! It relays nothing and speaks no TLS; it listens on loopback only. Faults are scripted: refused recipients, closed
//! sockets, lost replies, being down.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

mod received;
mod session;

pub use received::Received;

/// A running mail server. It stops when it is dropped.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Mutex<Option<JoinHandle<()>>>,
}

/// Where a scripted fault closes the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Instead of answering MAIL: nothing is taken.
    AtMail,
    /// After taking the whole mail, instead of saying so: the sender cannot know.
    ReplyToData,
}

#[derive(Debug)]
struct Shared {
    mails: watch::Sender<Vec<Received>>,
    login: Option<(String, String)>,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    refused: BTreeMap<String, u16>,
    cuts: Vec<Cut>,
    hang: bool,
}

impl SmtpSink {
    /// Listens on a free port of loopback and takes everything.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(None).await
    }

    /// Takes mail only after this login (AUTH PLAIN).
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_with_login(username: &str, password: &str) -> io::Result<Self> {
        Self::start_with(Some((username.to_owned(), password.to_owned()))).await
    }

    async fn start_with(login: Option<(String, String)>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Shared { mails: watch::Sender::new(Vec::new()), login, faults: Mutex::default() };
        let sink = Self { address: listener.local_addr()?, shared: Arc::new(shared), server: Mutex::new(None) };
        sink.serve(listener);
        Ok(sink)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every mail taken so far, in order.
    #[must_use]
    pub fn mails(&self) -> Vec<Received> {
        self.shared.mails.borrow().clone()
    }

    /// Waits until this many mails were taken in all.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut mails = self.shared.mails.subscribe();
        let mails = mails.wait_for(|mails| mails.len() >= count).await;
        mails.expect("the sender lives as long as this sink").clone()
    }

    /// Follows the mails as they come, for narrating.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Vec<Received>> {
        self.shared.mails.subscribe()
    }

    /// Answers RCPT to this address with this code (550: never, 451: not now) until it is accepted again.
    pub fn refuse(&self, recipient: &str, code: u16) {
        self.shared.faults().refused.insert(recipient.to_owned(), code);
    }

    /// Takes mail to this address again.
    pub fn accept(&self, recipient: &str) {
        self.shared.faults().refused.remove(recipient);
    }

    /// Closes the socket once, the next time a session gets there. Several are used in the order they were scripted.
    pub fn cut(&self, cut: Cut) {
        self.shared.faults().cuts.push(cut);
    }

    /// Takes connections and says nothing on them, until told otherwise.
    pub fn hang(&self, hang: bool) {
        self.shared.faults().hang = hang;
    }

    /// Stops listening and closes every session. What was taken stays.
    pub async fn down(&self) {
        let server = self.server().take();
        if let Some(server) = server {
            server.abort();
            // Cancelled, which is what was asked for; after this the port refuses connections.
            let _ = server.await;
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        self.down().await;
        self.serve(TcpListener::bind(self.address).await?);
        Ok(())
    }

    fn serve(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let server = tokio::spawn(async move {
            // Dropped with this task, and with it every session.
            let mut sessions = JoinSet::new();
            loop {
                // A connection that failed before it was taken is the client's trouble.
                if let Ok((socket, _)) = listener.accept().await {
                    sessions.spawn(session::run(socket, Arc::clone(&shared)));
                }
                while sessions.try_join_next().is_some() {}
            }
        });
        *self.server() = Some(server);
    }

    fn server(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.server.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        if let Some(server) = self.server().take() {
            server.abort();
        }
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nothing panics while it holds this lock")
    }

    fn take_cut(&self, here: Cut) -> bool {
        let mut faults = self.faults();
        let found = faults.cuts.iter().position(|cut| *cut == here);
        found.map(|index| faults.cuts.remove(index)).is_some()
    }
}
