//! The `failover-gate` command: dispatch, signals, exit code.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser as _;
use failover::{
    domain::{Time, visible_line},
    gate::{
        install, keeper,
        options::{GateCli, GateCommand, RunOptions},
        parts,
        port::{self, Board},
        run as gate,
        state::first_status,
        status, stub,
        systemd::Systemd,
        telemetry,
    },
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How soon a port that is taken is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // Its other two processes come before anything else: they read no configuration and write no log.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(name) if name == "keeper" => return keeper::main(arguments),
        Some(name) if name == "stub" => return stub::main(arguments),
        Some(_) | None => {}
    }
    let (result, failed) = match GateCli::parse().command {
        GateCommand::Run(options) => (run(*options), 1),
        GateCommand::Install { folder } => (install::install(&folder).map(|path| say(&path.display(), 0)), 1),
        GateCommand::Status(options) => {
            let answer = runtime().and_then(|runtime| runtime.block_on(status::ask(&options.url, options.json)));
            (answer.map(|(text, code)| say(&text, code)), status::NO_ANSWER)
        }
    };
    telemetry::finish();
    result.unwrap_or_else(|why| {
        eprintln!("failover-gate: {}", visible_line(&why));
        ExitCode::from(failed)
    })
}

fn say(text: &dyn std::fmt::Display, code: u8) -> ExitCode {
    println!("{text}");
    code.into()
}

/// One thread: the gate waits nearly all of the time.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("nothing can be run: {error}"))
}

/// Builds everything, answers on the port, and runs until it is asked to stop.
fn run(options: RunOptions) -> Result<ExitCode, String> {
    telemetry::init();
    let parts = parts::build(options)?;
    runtime()?.block_on(async {
        let stopped = on_signal()?;
        let listen = parts.listen;
        let (shown, status) = watch::channel(first_status(parts.validator.clone(), parts.place.name(), Time::now()));
        let board = Arc::new(Board::new(status));
        // They end after the loop, which may need the port for as long as it stops.
        let ended = CancellationToken::new();
        let port = tokio::spawn(answer(listen, board.clone(), ended.clone()));
        let systemd = Systemd::from_environment().map(|it| tokio::spawn(it.run(board.clone(), ended.clone())));
        let code = gate::run(parts, shown, board.clock(), stopped).await.map(ExitCode::from);
        ended.cancel();
        let _ = port.await;
        if let Some(systemd) = systemd {
            let _ = systemd.await;
        }
        code
    })
}

/// Answers on the port. One that is taken keeps nothing from signing: it is tried again.
async fn answer(listen: SocketAddr, board: Arc<Board>, ended: CancellationToken) {
    loop {
        match bind(listen).await {
            Ok(listener) => {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!(%address, "the port answers");
                }
                return port::serve(listener, board, ended).await;
            }
            Err(error) => {
                tracing::error!(
                    "the port {listen} cannot be taken: {error}; end what has it, or name another with --listen"
                );
            }
        }
        tokio::select! {
            () = ended.cancelled() => return,
            () = sleep(BIND_AGAIN) => {}
        }
    }
}

/// A machine without IPv6 has no `[::]`.
async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if listen.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.port())).await
        }
        bound => bound,
    }
}

/// Cancelled by SIGTERM, as kubelet and systemd send it, and by Ctrl-C.
fn on_signal() -> Result<CancellationToken, String> {
    let stopped = CancellationToken::new();
    let taken = |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
    let (mut terminated, mut interrupted) = (taken(SignalKind::terminate())?, taken(SignalKind::interrupt())?);
    let stop = stopped.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("stopping: first the command, then the session is given back");
        stop.cancel();
    });
    Ok(stopped)
}
