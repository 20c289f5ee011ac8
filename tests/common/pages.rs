//! A program on loopback that has pages and a state, or answers wrongly in every way that a stranger might.
//!
//! It does not know what is on its pages.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// How an answer can be spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A login page.
    Html,
    /// Nothing, with a good status.
    Empty,
    /// The first half of what it would say.
    Half,
    /// A megabyte.
    Huge,
    /// No answer, ever.
    Hang,
    /// This status, with a word.
    Status(u16),
    /// To the same page elsewhere.
    Redirect,
}

struct Shared<C> {
    condition: Mutex<(C, Option<Fault>)>,
    answer: fn(&C, &str) -> (u16, String),
}

/// It ends when it is dropped.
pub struct Pages<C> {
    pub url: String,
    shared: Arc<Shared<C>>,
    server: JoinHandle<()>,
}

impl<C> Drop for Pages<C> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl<C: Send + 'static> Pages<C> {
    pub async fn start(condition: C, answer: fn(&C, &str) -> (u16, String)) -> Self {
        let shared = Arc::new(Shared { condition: Mutex::new((condition, None)), answer });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = shared.clone();
        let router = Router::new().fallback(move |uri: Uri| respond(state.clone(), uri));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    /// Changes how it is.
    pub fn change(&self, change: impl FnOnce(&mut C)) {
        change(&mut self.shared.condition.lock().unwrap().0);
    }

    /// Spoils every answer from now on, or none any more.
    pub fn spoil(&self, fault: Option<Fault>) {
        self.shared.condition.lock().unwrap().1 = fault;
    }
}

async fn respond<C>(shared: Arc<Shared<C>>, uri: Uri) -> Response {
    let ((good, text), fault) = {
        let condition = shared.condition.lock().unwrap();
        ((shared.answer)(&condition.0, uri.path()), condition.1)
    };
    let status = |status| StatusCode::from_u16(status).unwrap();
    match fault {
        None => (status(good), text).into_response(),
        Some(Fault::Html) => {
            ([(header::CONTENT_TYPE, "text/html")], "<!doctype html><title>Log in</title>").into_response()
        }
        Some(Fault::Empty) => StatusCode::OK.into_response(),
        Some(Fault::Half) => text[..text.len() / 2].to_owned().into_response(),
        Some(Fault::Huge) => Body::from(text + &" ".repeat(1 << 20)).into_response(),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(code)) => (status(code), "no").into_response(),
        Some(Fault::Redirect) => (StatusCode::FOUND, [(header::LOCATION, uri.path().to_owned())]).into_response(),
    }
}
