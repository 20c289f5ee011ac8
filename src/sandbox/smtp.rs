//! A mail server that keeps what it is given: the far end of every mail in the sandbox and in tests.
//!
//! It relays nothing and speaks no TLS; it listens on loopback only. Faults are scripted: answers, closed
//! sockets, lost replies, being down.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::server::Server;

mod received;
mod session;

pub use received::Received;

/// A running mail server. It stops when it is dropped.
#[derive(Debug)]
pub struct SmtpSink {
    shared: Arc<Shared>,
    server: Server,
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
    /// For whom it takes mail and does not say so yet.
    held: watch::Sender<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Faults {
    answers: BTreeMap<String, String>,
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
        let shared = Shared {
            mails: watch::Sender::new(Vec::new()),
            login,
            faults: Mutex::default(),
            held: watch::Sender::default(),
        };
        let shared = Arc::new(shared);
        let sessions = Arc::clone(&shared);
        let server =
            Server::raw(Server::listen().await?, move |listener, stop| serve(listener, stop, Arc::clone(&sessions)))?;
        Ok(Self { shared, server })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
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

    /// Answers every line that begins so (`RCPT TO:<me@x>`) with this, until it is taken back. `CONNECT` is the greeting,
    /// `.` the end of a mail.
    pub fn answer(&self, line: &str, reply: &str) {
        self.shared.faults().answers.insert(line.to_owned(), reply.to_owned());
    }

    /// Answers these lines as usual again.
    pub fn answer_as_usual(&self, line: &str) {
        self.shared.faults().answers.remove(line);
    }

    /// Closes the socket once, the next time a session gets there. Several are used in the order they were scripted.
    pub fn cut(&self, cut: Cut) {
        self.shared.faults().cuts.push(cut);
    }

    /// Takes connections and says nothing on them, until told otherwise.
    pub fn hang(&self, hang: bool) {
        self.shared.faults().hang = hang;
    }

    /// Takes mail for this recipient and says so only when it is released.
    pub fn hold(&self, recipient: &str) {
        self.shared.held.send_modify(|held| _ = held.insert(recipient.to_owned()));
    }

    /// Answers for all mail that was taken and held.
    pub fn release(&self) {
        self.shared.held.send_modify(BTreeSet::clear);
    }

    /// Stops listening and closes every session. What was taken stays.
    pub async fn down(&self) {
        self.server.down().await;
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        self.down().await;
        self.server.up().await
    }
}

/// Takes connections until it is stopped, or dropped; its sessions end with it.
async fn serve(listener: TcpListener, stop: CancellationToken, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // A connection that failed before it was taken is the client's trouble.
        if let Ok((socket, _)) = socket {
            sessions.spawn(session::run(socket, Arc::clone(&shared)));
        }
        while sessions.try_join_next().is_some() {}
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nothing panics while it holds this lock")
    }

    fn scripted(&self, line: &str) -> Option<String> {
        let faults = self.faults();
        faults.answers.iter().find(|(begin, _)| line.starts_with(begin.as_str())).map(|(_, reply)| reply.clone())
    }

    /// Waits until nobody holds the answer for these.
    async fn released(&self, to: &[String]) {
        let mut held = self.held.subscribe();
        let free = held.wait_for(|held| !to.iter().any(|to| held.contains(to))).await;
        free.expect("the sender lives as long as this sink");
    }

    fn take_cut(&self, here: Cut) -> bool {
        let mut faults = self.faults();
        let found = faults.cuts.iter().position(|cut| *cut == here);
        found.map(|index| faults.cuts.remove(index)).is_some()
    }
}
