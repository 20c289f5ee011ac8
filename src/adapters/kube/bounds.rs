//! What an API server may send. The client itself reads a list to its end, and a watch to the end of a line, whatever comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http::{Request, Response};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tower::{BoxError, Layer, Service};

/// A hundred objects, as many as we ask for at once, of more than the usual twenty kilobytes each. etcd takes none of more
/// than a megabyte and a half.
const MOST: usize = 16 << 20;

/// Wraps the client's way to the server.
#[derive(Clone)]
pub(super) struct Bounds;

#[derive(Clone)]
pub(super) struct BoundedService<S>(S);

pub(super) struct BoundedAnswer<B> {
    body: B,
    /// A watch lasts, and only its lines have an end.
    by_line: bool,
    read: usize,
}

impl<S> Layer<S> for Bounds {
    type Service = BoundedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BoundedService(inner)
    }
}

impl<S, B> Service<Request<kube::client::Body>> for BoundedService<S>
where
    S: Service<Request<kube::client::Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<BoundedAnswer<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let by_line = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let answer = self.0.call(request);
        answer.map_ok(move |answer| answer.map(|body| BoundedAnswer { body, by_line, read: 0 })).boxed()
    }
}

impl<B> BoundedAnswer<B> {
    fn take(&mut self, data: &[u8]) -> Result<(), BoxError> {
        self.read += data.len();
        if self.read > MOST {
            let what = if self.by_line { "a line" } else { "an answer" };
            return Err(format!("the API server sends {what} larger than {MOST} bytes").into());
        }
        if let Some(end) = data.iter().rposition(|byte| *byte == b'\n').filter(|_| self.by_line) {
            self.read = data.len() - end - 1;
        }
        Ok(())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for BoundedAnswer<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let taken = frame.data_ref().map_or(Ok(()), |data| self.take(data));
        Poll::Ready(Some(taken.map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(by_line: bool) -> BoundedAnswer<()> {
        BoundedAnswer { body: (), by_line, read: 0 }
    }

    #[test]
    fn a_watch_may_last_and_its_lines_and_other_answers_may_not() {
        let mut line = vec![b'a'; MOST / 4];
        let mut endless = answer(true);
        assert!((0..4).all(|_| endless.take(&line).is_ok()));
        let error = endless.take(&line).unwrap_err();
        assert_eq!(error.to_string(), "the API server sends a line larger than 16777216 bytes");
        line.push(b'\n');
        let (mut watch, mut list) = (answer(true), answer(false));
        assert!((0..100).all(|_| watch.take(&line).is_ok()));
        assert!((0..100).any(|_| list.take(&line).is_err()));
    }
}
