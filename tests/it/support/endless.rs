//! A server that answers and never stops, and counts what it could send.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What the system's own buffers may hold of a connection, on both sides: the kernel lets them grow.
const IN_THE_SYSTEM: usize = 16 << 20;
/// A test that fails ends here and not in the memory of the machine.
const ENOUGH: usize = 512 << 20;

pub struct Endless {
    address: SocketAddr,
    sent: Arc<AtomicUsize>,
    ended: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Endless {
    /// Says `begin` to every client, over HTTP when it has asked, and then `line` for as long as it listens.
    pub async fn start(begin: &str, line: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, (say, ended)) = (Arc::new(AtomicUsize::new(0)), watch::channel(0));
        let (begin, counter) = (begin.to_owned(), Arc::clone(&sent));
        let block = line.repeat((64 << 10) / line.len()).into_bytes();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (begin, block, counter, say) = (begin.clone(), block.clone(), Arc::clone(&counter), say.clone());
                tokio::spawn(async move {
                    flood(stream, &begin, &block, &counter).await;
                    say.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self { address, sent, ended, task }
    }

    /// The same as an answer of HTTP, with this media type.
    pub async fn http(kind: &str, begin: &str, line: &str) -> Self {
        Self::start(&format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n{begin}"), line).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until a client has gone, and sees that none has taken more than this and what lies in the system.
    pub async fn assert_bounded(mut self, most: usize) {
        self.ended.wait_for(|ended| *ended > 0).await.unwrap();
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(sent <= most + IN_THE_SYSTEM, "the client took {sent} bytes");
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn flood(stream: TcpStream, begin: &str, block: &[u8], sent: &AtomicUsize) {
    let (mut reads, mut writes) = stream.into_split();
    // An answer before its question is no HTTP.
    if begin.starts_with("HTTP") && !matches!(reads.read(&mut [0; 4096]).await, Ok(1..)) {
        return;
    }
    // What the client asks is of no interest, but a reset would take away what it has not read yet.
    let drain = tokio::spawn(async move { while matches!(reads.read(&mut [0; 4096]).await, Ok(1..)) {} });
    let all = async {
        writes.write_all(begin.as_bytes()).await?;
        while sent.load(Ordering::SeqCst) < ENOUGH {
            writes.write_all(block).await?;
            sent.fetch_add(block.len(), Ordering::SeqCst);
        }
        std::io::Result::Ok(())
    };
    let _ = all.await;
    drain.abort();
}
