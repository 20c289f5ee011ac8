//! The clock of this machine, compared with the `Date` of real answers over HTTP.

use std::sync::Arc;

use axum::{Router, http::HeaderValue, response::IntoResponse, routing::get};
use failover::{
    adapters::{
        clock::SystemClock,
        date::{self, DateError},
        http,
    },
    domain::{Accuracy, Span, Time},
    ports::Clock,
    sandbox::compute::FakeCompute,
};
use futures::future::BoxFuture;

const LIMIT: Span = Span::from_millis(500);

/// As far off as it says.
struct Off(Span);

impl Clock for Off {
    fn now(&self) -> Time {
        Time::now() + self.0
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(at - self.0)
    }
}

async fn accuracy_of(clock: &dyn Clock) -> Accuracy {
    let cloud = FakeCompute::start(&["us-central1-a"], Span::ZERO, Arc::new(SystemClock)).await.unwrap();
    let client = http::client(std::time::Duration::from_secs(5)).unwrap();
    let url = cloud.url().parse().unwrap();
    date::offset(&client, &url, clock).await.unwrap().accuracy(LIMIT)
}

#[tokio::test]
async fn a_right_clock_is_never_called_wrong() {
    assert_ne!(accuracy_of(&SystemClock).await, Accuracy::Wrong);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_called_wrong() {
    let (ahead, behind) = (Off(Span::from_hours(1)), Off(Span::from_hours(-1)));
    let both = futures::future::join(accuracy_of(&ahead), accuracy_of(&behind)).await;
    assert_eq!(both, (Accuracy::Wrong, Accuracy::Wrong));
}

#[tokio::test]
async fn an_answer_without_a_date_tells_nothing() {
    let undated = || async { ([("date", HeaderValue::from_static("yesterday"))], "").into_response() };
    let router = Router::new().fallback(get(undated));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let client = http::client(std::time::Duration::from_secs(5)).unwrap();
    assert!(matches!(date::offset(&client, &url, &SystemClock).await, Err(DateError::NoDate)));
    server.abort();
}
