//! A fake node: JSON-RPC with a height, and every way of not answering.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Response, StatusCode},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// How it answers.
#[derive(Clone, Debug)]
pub enum Mood {
    /// With a height that is one greater each time.
    Advances,
    /// With the height it has.
    StandsStill,
    /// With this status and body.
    Says(u16, String),
    /// Not at all, with the connection open.
    Silent,
    /// With half of what it announces.
    Half,
}

/// What it has, and what it was asked.
struct State {
    mood: Mood,
    height: u64,
    asked: Vec<(HeaderMap, String)>,
}

pub struct FakeNode {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl FakeNode {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { mood, height: 840_000, asked: Vec::new() }));
        let server = Some(serve(listener, state.clone()));
        Self { address, state, server }
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub fn asked(&self) -> Vec<(HeaderMap, String)> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The power is gone.
    pub fn unplug(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }

    /// The power is back, on the same port.
    pub async fn plug_in(&mut self) {
        self.server = Some(serve(TcpListener::bind(self.address).await.unwrap(), self.state.clone()));
    }
}

fn serve(listener: TcpListener, state: Arc<Mutex<State>>) -> JoinHandle<()> {
    let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
        let state = state.clone();
        async move { answer(&state, headers, &body).await }
    });
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    })
}

async fn answer(state: &Mutex<State>, headers: HeaderMap, body: &[u8]) -> Response<Body> {
    let (mood, height) = {
        let mut state = state.lock().unwrap();
        state.asked.push((headers, String::from_utf8_lossy(body).into_owned()));
        if matches!(state.mood, Mood::Advances) {
            state.height += 1;
        }
        (state.mood.clone(), state.height)
    };
    let blocks = format!("{{\"result\":{{\"chain\":\"main\",\"blocks\":{height}}},\"error\":null}}");
    match mood {
        Mood::Advances | Mood::StandsStill => Response::new(blocks.into()),
        Mood::Says(status, body) => {
            let mut response = Response::new(body.into());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        Mood::Silent => std::future::pending().await,
        Mood::Half => {
            // One part, then the connection breaks.
            let part: Result<Bytes, std::io::Error> = Ok(Bytes::copy_from_slice(&blocks.as_bytes()[..10]));
            let broken = Err(std::io::Error::other("the cable"));
            Response::new(Body::from_stream(futures::stream::iter([part, broken])))
        }
    }
}
