//! The socket below a session, which bounds what a server may say.
//!
//! The client reads a line into memory to its end and only then asks how long it is, so the limit has to lie below it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
#[expect(deprecated, reason = "see `Wrapped`")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{AsyncTokioStream, TlsParameters};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// For all that a server says between two of our own commands: the longest answer has a line for each of its extensions,
/// and a handshake of TLS has its certificates.
const MOST_SAID: usize = 64 << 10;

/// A socket, or TLS over one.
pub(super) type Wire = Box<dyn AsyncTokioStream>;

/// Connects. Nothing is said yet.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<Wire> {
    let socket = TcpStream::connect((host, port)).await?;
    let peer = socket.peer_addr()?;
    Ok(Box::new(Bounded { stream: socket, peer, left: MOST_SAID }))
}

#[derive(Debug)]
struct Bounded {
    stream: TcpStream,
    peer: SocketAddr,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let peer = self.peer;
            let why =
                format!("{peer} sends an answer larger than {MOST_SAID} bytes; look whether that is a mail server");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        self.left = self.left.saturating_sub(into.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.left = MOST_SAID;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

/// TLS from the first byte, by the client's own code, so that both kinds of TLS trust the same.
#[expect(deprecated, reason = "the client offers no other way to begin with TLS on a stream of ours")]
#[derive(Debug)]
pub(super) struct Wrapped(AsyncNetworkStream, SocketAddr);

#[expect(deprecated, reason = "as above")]
pub(super) async fn wrap(wire: Wire, tls: TlsParameters) -> Result<Wire, lettre::transport::smtp::Error> {
    let peer = wire.peer_addr().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into());
    let mut stream = AsyncNetworkStream::use_existing_tokio1(wire);
    stream.upgrade_tls(tls).await?;
    Ok(Box::new(Wrapped(stream, peer)))
}

impl AsyncRead for Wrapped {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read =
            std::task::ready!(FuturesRead::poll_read(Pin::new(&mut self.0), context, into.initialize_unfilled()))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        FuturesWrite::poll_write(Pin::new(&mut self.0), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_close(Pin::new(&mut self.0), context)
    }
}

impl AsyncTokioStream for Wrapped {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.1)
    }
}
