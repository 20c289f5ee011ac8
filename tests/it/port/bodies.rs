//! Bodies share one budget: what does not fit is sent again later, and a small one always fits.

use failover::adapters::server::budget::MAX_BODY;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::alertmanager::rig::{Rig, firing};

async fn half_of_a_large_one(rig: &Rig) -> TcpStream {
    let address = rig.url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /webhook/alertmanager HTTP/1.1\r\nHost: w\r\nAuthorization: Bearer s3cret\r\n\
         Content-Length: {MAX_BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It may be refused in the middle.
    let _ = stream.write_all(&vec![b' '; MAX_BODY / 2 + 1]).await;
    stream
}

async fn status(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 12];
    let _ = stream.read_exact(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_that_do_not_fit_together_come_again_and_a_small_one_is_taken_meanwhile() {
    let rig = Rig::start().await;
    let (mut one, mut other) = (half_of_a_large_one(&rig).await, half_of_a_large_one(&rig).await);
    let refused = tokio::select! {
        status = status(&mut one) => status,
        status = status(&mut other) => status,
    };
    assert_eq!(refused, "HTTP/1.1 503");
    assert_eq!(rig.post(&firing(1)).await.0, 200);
    assert_eq!(Rig::count(&rig.receiver.stats().refused), 1);
    drop((one, other));
    let padded = firing(2) + &" ".repeat(MAX_BODY - firing(2).len());
    // The one that was cut off gives its part back as soon as that is noticed.
    while rig.post(&padded).await.0 != 200 {}
}
