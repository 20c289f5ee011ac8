//! What stands for the gate: this test's own program, started again, which does what a socket asks of it.

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use failover::{
    domain::gate::ChildDeadline,
    gate::{
        child::{Child as _, StartError},
        containment::Containment,
        folder::StateFolder,
        supervisor::Supervisor,
    },
    raw_clock,
};

pub const SOCKET: &str = "GATE_TEST_SOCKET";
pub const STATE: &str = "GATE_TEST_STATE";
/// The gate's program, if it is not where it was built.
pub const EXE: &str = "GATE_TEST_EXE";
pub const SCRIPT: &str = "GATE_TEST_SCRIPT";

/// Not a test by itself: it does nothing unless another one started it.
#[test]
fn driver() {
    let Some(socket) = env::var_os(SOCKET) else { return };
    let mut socket = UnixStream::connect(socket).unwrap();
    let _folder = env::var_os(STATE).map(|state| StateFolder::open(&PathBuf::from(state)).unwrap());
    let containment = match Containment::find() {
        Ok(containment) => containment,
        Err(error) => return writeln!(socket, "{error}").unwrap(),
    };
    let command: Vec<OsString> = match env::var_os(SCRIPT) {
        Some(script) => vec!["sh".into(), "-c".into(), script],
        None => vec!["/no/such/command".into()],
    };
    let exe = env::var_os(EXE).unwrap_or_else(|| env!("CARGO_BIN_EXE_failover-gate").into()).into();
    let mut supervisor = Supervisor::new(exe, containment, command, Duration::from_secs(1)).unwrap();
    writeln!(socket, "here").unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut asked = BufReader::new(socket.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if (&mut asked).take(1000).read_line_bounded(&mut line) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let what = words.next().unwrap();
        let [ask, kill] = [(); 2].map(|()| {
            let millis = words.next().and_then(|millis| millis.parse().ok()).unwrap_or(0);
            raw_clock::now() + Duration::from_millis(millis)
        });
        let deadline = ChildDeadline { ask, kill };
        let answer = runtime.block_on(async {
            match what {
                "start" => match supervisor.start(deadline).await {
                    Ok(()) => "running".to_owned(),
                    Err(StartError::Late) => "late".to_owned(),
                    Err(error) => error.to_string(),
                },
                // Asked for, and given up before anything is heard of it.
                "give-up" => {
                    let _ = tokio::time::timeout(Duration::ZERO, supervisor.start(deadline)).await;
                    "given up".to_owned()
                }
                "extend" => {
                    supervisor.extend(deadline).await;
                    "extended".to_owned()
                }
                "stop" => format!("{:?}", supervisor.stop().await),
                "over" => format!("{:?}", supervisor.command_ended().await),
                "ended" => format!("{:?}", supervisor.ended().await),
                other => panic!("{other}"),
            }
        });
        writeln!(socket, "{answer}").unwrap();
    }
}

pub trait ReadLineBounded {
    fn read_line_bounded(self, line: &mut String) -> usize;
}

impl<R: std::io::BufRead> ReadLineBounded for std::io::Take<R> {
    #[expect(clippy::disallowed_methods, reason = "below a limit")]
    fn read_line_bounded(mut self, line: &mut String) -> usize {
        self.read_line(line).unwrap_or(0)
    }
}
