use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::domain::{TimeExt, ValidatorId};

pub(crate) fn waiting() -> GateStatus {
    let since = Time::from_second(1_700_000_000).unwrap();
    GateStatus {
        validator: ValidatorId::new("eth-0").unwrap(),
        place: "home".into(),
        version: "1".into(),
        state: GatePhase::Waiting { why: "of the ledger".into(), kind: WaitKind::Ledger, since, until: None },
        number: Some(8),
        renewed_at: Some(since),
        trouble: None,
    }
}

struct Port {
    address: SocketAddr,
    board: Arc<Board>,
    shown: watch::Sender<GateStatus>,
    stopped: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Port {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (shown, status) = watch::channel(waiting());
        let (board, stopped) = (Arc::new(Board::new(status)), CancellationToken::new());
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, board.clone(), stopped.clone()));
        Self { address, board, shown, stopped, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// All that comes for this, until the port closes.
    async fn send(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        // It may be refused before it is sent in full.
        let _ = stream.write_all(text.as_bytes()).await;
        read(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    async fn stop(self) {
        self.stopped.cancel();
        self.task.await.unwrap();
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    while matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {}
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn the_port_shows_the_state_and_takes_no_orders() {
    let port = Port::new().await;
    port.shown.send_modify(|status| status.number = Some(9));
    let shown = port.get("/status").await;
    let (head, body) = shown.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"), "{head}");
    assert_eq!(serde_json::from_str::<GateStatus>(body).unwrap(), GateStatus { number: Some(9), ..waiting() });
    assert!(port.get("/").await.starts_with("HTTP/1.1 404 "));
    assert!(port.get("/status/").await.starts_with("HTTP/1.1 404 "));
    let posted = port.send("POST /status HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{").await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("allow: GET"), "{posted}");
    port.stop().await;
}

#[tokio::test]
async fn it_is_alive_while_its_loop_turns() {
    let port = Port::new().await;
    assert!(port.get("/livez").await.starts_with("HTTP/1.1 200 "));
    port.board.hang();
    assert!(port.get("/livez").await.starts_with("HTTP/1.1 503 "));
    port.board.clock()();
    assert!(port.get("/livez").await.starts_with("HTTP/1.1 200 "));
    port.stop().await;
}

#[test]
fn metrics_say_what_it_waits_for_and_how_old_the_session_is() {
    let version = env!("CARGO_PKG_VERSION");
    let of = |status: &GateStatus, seconds| {
        let text = metrics(status, waiting().renewed_at.unwrap().plus(crate::domain::Span::from_secs(seconds)));
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let info = format!("failover_gate_info{{version=\"{version}\"}} 1");
    let expected = [
        info.as_str(),
        "failover_gate_running 0",
        "failover_gate_waiting{kind=\"ledger\"} 1",
        "failover_gate_waiting{kind=\"grant\"} 0",
        "failover_gate_waiting{kind=\"session\"} 0",
        "failover_gate_waiting{kind=\"moving\"} 0",
        "failover_gate_waiting{kind=\"duties\"} 0",
        "failover_gate_waiting{kind=\"somebody_signs\"} 0",
        "failover_gate_waiting{kind=\"command\"} 0",
        "failover_gate_session_age_seconds 90",
        "failover_gate_grant_number 8",
    ];
    assert_eq!(of(&waiting(), 90), expected);
    let running = GateStatus {
        state: GatePhase::Running { since: Time::UNIX_EPOCH, until: None },
        number: None,
        renewed_at: None,
        ..waiting()
    };
    let shown = of(&running, 90);
    assert_eq!((shown[1].as_str(), shown.len()), ("failover_gate_running 1", 9));
    assert!(shown[2..].iter().all(|line| line.ends_with(" 0")), "{shown:?}");
}

#[tokio::test]
async fn a_head_without_end_is_refused_and_not_kept() {
    let port = Port::new().await;
    let long = port.send(&format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1 << 20))).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431 "), "{long}");
    let many = port.send(&format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100))).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
    assert!(port.send("\0\u{1}\u{2} nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(port.get("/livez").await.starts_with("HTTP/1.1 200 "));
    port.stop().await;
}

/// Time is paused, and jumps when everything waits.
#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_ends_and_so_does_an_idle_connection() {
    let port = Port::new().await;
    let begun = tokio::time::Instant::now();
    let mut slow = port.connect().await;
    slow.write_all(b"GET /livez HTT").await.unwrap();
    read(&mut slow).await;
    assert!((HEAD..HEAD * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    let mut idle = port.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let got = read(&mut idle).await;
    assert!(got.starts_with("HTTP/1.1 200 ") && begun.elapsed() <= CONNECTION, "{:?}", begun.elapsed());
    port.stop().await;
}

#[tokio::test]
async fn who_opens_many_connections_does_not_keep_kubelet_out() {
    let port = Port::new().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS * 3 {
        let mut stream = port.connect().await;
        stream.write_all(b"GET /livez HTT").await.unwrap();
        open.push(stream);
    }
    assert!(port.get("/livez").await.starts_with("HTTP/1.1 200 "));
    // The oldest were closed and the newest wait.
    for stream in &mut open[..CONNECTIONS * 2] {
        assert_eq!(read(stream).await, "");
    }
    let newest = open.last_mut().unwrap();
    newest.write_all(b"P/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read(newest).await.starts_with("HTTP/1.1 200 "));
    port.stop().await;
    for stream in &mut open {
        read(stream).await;
    }
}
