//! A mirror of releases on loopback: a few files by name, and how often each was fetched.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path as Name, State},
    http::StatusCode,
};
use tokio::{net::TcpListener, task::JoinHandle};

#[derive(Clone, Default)]
struct Shelf {
    files: BTreeMap<String, PathBuf>,
    fetched: Arc<Mutex<Vec<String>>>,
}

/// A running mirror; gone when dropped.
pub struct Mirror {
    port: u16,
    shelf: Shelf,
    task: JoinHandle<()>,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mirror {
    /// Serves these files, each under its own name.
    pub async fn start(files: &[PathBuf]) -> Self {
        let named = |file: &PathBuf| (file.file_name().unwrap().to_str().unwrap().to_owned(), file.clone());
        let shelf = Shelf { files: files.iter().map(named).collect(), ..Shelf::default() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/{name}", axum::routing::get(give)).with_state(shelf.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, shelf, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What was fetched so far, in order.
    pub fn fetched(&self) -> Vec<String> {
        self.shelf.fetched.lock().unwrap().clone()
    }

    /// A file as the configuration names it. The address leads nowhere: only the mirror has the file.
    pub fn named(&self, name: &str) -> String {
        let digest = sha256(&self.shelf.files[name]);
        format!("url: 'https://releases.invalid/{name}', sha256: {digest}")
    }
}

async fn give(State(shelf): State<Shelf>, Name(name): Name<String>) -> Result<Vec<u8>, StatusCode> {
    let file = shelf.files.get(&name).ok_or(StatusCode::NOT_FOUND)?;
    let bytes = tokio::fs::read(file).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    shelf.fetched.lock().unwrap().push(name);
    Ok(bytes)
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}
