//! A real control plane for all stories of this process; each story has a namespace and nodes of its own.
//!
//! Nothing is asserted here. It is one for all because it takes seconds to start; they take turns, because some stop
//! the API server, and all need the processor.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts/kubernetes.sh");

/// Runs a program to its end and answers with what it printed; a failure fails the test with its words.
pub fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("what these programs print is text")
}

/// A control plane. It ends with this process, however that ends: then the pipe to the one who clears up is closed.
pub struct Cluster {
    folder: PathBuf,
    kubectl: PathBuf,
    /// Held by the story that is told: what one breaks, another needs.
    turn: Mutex<()>,
    stories: AtomicUsize,
    _cleaner: Child,
}

impl Cluster {
    /// The one of this process, started by anyone who asks first.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let cluster = Self::up(&["--audit"]);
            // Where most nodes are dead, the cluster takes itself for cut off and evicts nobody.
            for other in ["other-1", "other-2"] {
                cluster.act("node", &[other]);
            }
            cluster
        })
    }

    /// One more, for who cannot share.
    pub fn up(options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap().keep();
        let cleaner = Command::new("sh")
            .args(["-c", r#"cat; "$0" down "$1" && rm -rf "$1""#, SCRIPT])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        run(Command::new(SCRIPT)
            .arg("up")
            .arg(&folder)
            .args(["--watch", &std::process::id().to_string()])
            .args(options));
        let kubectl = crate::parts::part("kubernetes").join("kubectl");
        Self { folder, kubectl, turn: Mutex::new(()), stories: AtomicUsize::new(0), _cleaner: cleaner }
    }

    /// A name nobody else has in it.
    pub fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.stories.fetch_add(1, Ordering::Relaxed))
    }

    /// The next story's turn.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// One of the script's verbs that changes what runs.
    pub fn act(&self, verb: &str, rest: &[&str]) {
        run(Command::new(SCRIPT).arg(verb).arg(&self.folder).args(rest));
    }

    /// The same where a failure must not hide another.
    pub fn try_act(&self, verb: &str, rest: &[&str]) {
        let _ = Command::new(SCRIPT).arg(verb).arg(&self.folder).args(rest).stderr(Stdio::null()).status();
    }

    /// An administrator's.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// As an administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        run(Command::new(&self.kubectl).arg("--kubeconfig").arg(self.kubeconfig()).args(arguments))
    }

    /// The same where a failure must not hide another.
    pub fn try_kubectl(&self, arguments: &[&str]) {
        let mut kubectl = Command::new(&self.kubectl);
        let _ = kubectl.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).output();
    }

    /// The same with something to read.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), input).unwrap();
        self.kubectl(&[arguments, &["-f", file.path().to_str().unwrap()]].concat())
    }
}
