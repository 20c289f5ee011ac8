//! A wire that can be cut: a TCP proxy on loopback in front of one far end, for one watcher.
//!
//! It understands nothing of what passes. Two ways to be cut are distinguished, because a program meets them in
//! different ways: a refusal is known at once, silence only by a time-out.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What becomes of bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// They pass.
    Whole,
    /// Connections are refused, and those that were open are closed.
    Refuses,
    /// Connections are taken and nothing passes. What was on its way arrives when the wire is whole again, as TCP does
    /// after a partition.
    Hangs,
}

/// A running proxy; gone when dropped.
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<watch::Sender<Wire>>,
    /// Whether the port is listened on, so that a cut is complete when `set` returns.
    listens: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts one in front of `http://HOST:PORT`.
    pub async fn before(url: &str) -> Self {
        let target: SocketAddr = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(watch::Sender::new(Wire::Whole));
        let (listening, listens) = watch::channel(true);
        let task = tokio::spawn(serve(listener, target, wire.subscribe(), listening));
        Self { address, wire, listens, task }
    }

    /// What replaces the far end's address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts or heals. When this returns, it is so.
    pub async fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
        self.listens.clone().wait_for(|listens| *listens == (wire != Wire::Refuses)).await.unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    mut wire: watch::Receiver<Wire>,
    listening: watch::Sender<bool>,
) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *wire.borrow_and_update() == Wire::Refuses {
            listener = None;
            connections.shutdown().await;
            listening.send_replace(false);
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.unwrap());
            listening.send_replace(true);
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wire.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((near, _)) = accepted {
                connections.spawn(connect(near, target, wire.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(near: TcpStream, target: SocketAddr, mut wire: watch::Receiver<Wire>) {
    // Whoever connects while nothing passes reaches nobody until it does.
    if wire.wait_for(|wire| *wire == Wire::Whole).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(pass(near_in, far_out, wire.clone()), pass(far_in, near_out, wire));
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if wire.wait_for(|wire| *wire == Wire::Whole).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
