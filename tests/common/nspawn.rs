//! Machines of the fake cloud that are really booted: each is a Debian of its own under `systemd-nspawn`, with the
//! metadata server of its machine, its console on the serial port, and a start-up script that is run as Google's agent
//! runs it: at every boot, as root.
//!
//! It is no virtual machine: kernel, clock and network are the host's. So every port a machine opens is one of the
//! host's loopback, and a firewall on the machine cannot be switched on.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use failover::sandbox::compute::{Powered, System};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// What `systemd-nspawn` ends with when the system on it wants to be started again.
const REBOOT: i32 = 133;

/// What Google's guest agent does at every boot, in a few lines: the script comes from the metadata server, and what it
/// says goes to the journal and to the console.
const RUNNER: &str = r#"#!/bin/sh
url="http://$GCE_METADATA_HOST/computeMetadata/v1/instance/attributes/startup-script"
script=$(mktemp -d)/startup-script
until curl -sf --max-time 10 -H 'Metadata-Flavor: Google' -o "$script" "$url"; do
  echo "startup-script: the metadata server does not answer"
  sleep 1
done
chmod +x "$script"
"$script"
echo "startup-script exit status $?"
"#;

const UNIT: &str = "[Unit]\nDescription=Google Compute Engine Startup Scripts\nAfter=network.target\n\
                    [Service]\nType=oneshot\nExecStart=/usr/local/sbin/google-startup-script\nKillMode=process\n\
                    StandardOutput=journal+console\nStandardError=journal+console\nTimeoutStartSec=infinity\n";

/// Boots machines from copies of one image.
pub struct Nspawn {
    image: PathBuf,
    folder: TempDir,
    running: Mutex<HashMap<String, Machine>>,
    failures: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Machine {
    root: PathBuf,
    /// The system's first process, as the host numbers it.
    leader: Option<u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nspawn {
    /// Machines made from this root file system, which itself is never changed.
    ///
    /// # Panics
    /// Says what is missing: without it nothing here can be tested, and that must not look like success.
    pub fn new(image: PathBuf) -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
        assert!(is_root, "to boot a machine takes root, and this test does not run as root");
        let version = std::process::Command::new("systemd-nspawn").arg("--version").output();
        assert!(
            version.as_ref().is_ok_and(|output| output.status.success()),
            "to boot a machine takes systemd-nspawn (Debian: systemd-container): {version:?}"
        );
        assert!(image.join("usr/lib/systemd/systemd").exists(), "{} is no system", image.display());
        let folder = tempfile::Builder::new().prefix("failover-machines-").tempdir().unwrap();
        Self { image, folder, running: Mutex::default(), failures: Mutex::default() }
    }

    /// What could not be booted, and why.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// A file of a machine, as the host sees it.
    pub fn file(&self, machine: &str, path: &str) -> PathBuf {
        let running = lock(&self.running);
        let root = &running.get(machine).unwrap_or_else(|| panic!("{machine} was never powered on")).root;
        root.join(path.trim_start_matches('/'))
    }

    /// Runs a command on a machine that is on.
    pub async fn run_on(&self, machine: &str, command: &[&str]) -> Output {
        let leader = lock(&self.running).get(machine).and_then(|machine| machine.leader);
        let leader = leader.unwrap_or_else(|| panic!("{machine} is off"));
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &leader.to_string(), "--mount", "--pid", "--uts", "--ipc", "--"]);
        nsenter.args(command).stdin(Stdio::null()).output().await.expect("nsenter can be run")
    }

    fn copy(&self, machine: &Powered) -> io::Result<PathBuf> {
        let root = self.folder.path().join(machine.id.to_string());
        if !root.exists() {
            let mut copy = std::process::Command::new("cp");
            let output = copy.args(["-a", "--reflink=auto"]).arg(&self.image).arg(&root).output()?;
            if !output.status.success() {
                return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        prepare(&root, machine)?;
        Ok(root)
    }

    async fn boot(&self, machine: &Powered) -> io::Result<Ended> {
        let root = self.copy(machine)?;
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--register=no", "--keep-unit", "--console=read-only", "--boot"]);
        // Nothing of the host's: no names, no time zone, no journal.
        command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        command.arg(format!("--machine={}", machine.name)).arg("-D").arg(&root);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let console = [child.stdout.take().map(Console::Out), child.stderr.take().map(Console::Err)];
        let readers: Vec<_> =
            console.into_iter().flatten().map(|from| tokio::spawn(forward(from, machine.clone()))).collect();
        let seat = Machine { root, leader: None };
        lock(&self.running).insert(machine.name.clone(), seat);
        let ended = self.until_it_ends(machine, &mut child).await;
        if let Some(machine) = lock(&self.running).get_mut(&machine.name) {
            machine.leader = None;
        }
        for reader in readers {
            // Ends with the pipe, and that with the process.
            let _ = reader.await;
        }
        ended
    }

    async fn until_it_ends(&self, machine: &Powered, child: &mut Child) -> io::Result<Ended> {
        let supervisor = child.id().unwrap_or_default();
        let find_leader = async {
            let leader = leader_of(supervisor).await;
            if let Some(machine) = lock(&self.running).get_mut(&machine.name) {
                machine.leader = Some(leader);
            }
            machine.off.cancelled().await;
            leader
        };
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                return match status.code() {
                    Some(0) => Ok(Ended::PoweredOff),
                    Some(REBOOT) => Ok(Ended::Reboot),
                    _ => Err(io::Error::other(format!("systemd-nspawn has ended with {status}"))),
                };
            }
            leader = find_leader => {
                // As a power cut: nothing on the machine gets to say goodbye.
                Command::new("kill").args(["-KILL", &leader.to_string()]).status().await?;
            }
        }
        child.wait().await?;
        Ok(Ended::PlugPulled)
    }
}

/// How a boot came to its end.
enum Ended {
    PoweredOff,
    Reboot,
    PlugPulled,
}

#[async_trait]
impl System for Nspawn {
    async fn run(&self, machine: Powered) {
        loop {
            match self.boot(&machine).await {
                Ok(Ended::PoweredOff | Ended::PlugPulled) => return,
                Ok(Ended::Reboot) => {}
                Err(error) => {
                    machine.console(format!("nspawn: {error}\n").as_bytes());
                    lock(&self.failures).push(format!("{}: {error}", machine.name));
                    // A machine that is broken stays on and says nothing.
                    return machine.off.cancelled().await;
                }
            }
        }
    }
}

/// What makes the image a machine in the cloud.
fn prepare(root: &Path, machine: &Powered) -> io::Result<()> {
    let write = |path: &str, text: &str, mode: u32| -> io::Result<()> {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it is inside the root"))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    };
    // systemd gives it to every unit, and /etc/environment to whoever logs in.
    let environment =
        [("GCE_METADATA_HOST", machine.metadata.to_string()), ("FAILOVER_CONSOLE", "/dev/console".into())];
    let quoted: Vec<String> = environment.iter().map(|(key, value)| format!("\"{key}={value}\"")).collect();
    let lines: String = environment.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let manager = format!("[Manager]\nDefaultEnvironment={}\n", quoted.join(" "));
    write("etc/systemd/system.conf.d/cloud.conf", &manager, 0o644)?;
    write("etc/environment", &lines, 0o644)?;
    write("etc/hostname", &format!("{}\n", machine.name), 0o644)?;
    write("usr/local/sbin/google-startup-script", RUNNER, 0o755)?;
    write("etc/systemd/system/google-startup-scripts.service", UNIT, 0o644)?;
    let wanted = root.join("etc/systemd/system/multi-user.target.wants/google-startup-scripts.service");
    fs::create_dir_all(wanted.parent().expect("it is inside the root"))?;
    if wanted.symlink_metadata().is_err() {
        std::os::unix::fs::symlink("../google-startup-scripts.service", wanted)?;
    }
    Ok(())
}

enum Console {
    Out(tokio::process::ChildStdout),
    Err(tokio::process::ChildStderr),
}

async fn forward(from: Console, machine: Powered) {
    match from {
        Console::Out(out) => copy(out, machine).await,
        Console::Err(err) => copy(err, machine).await,
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, machine: Powered) {
    let mut bytes = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        machine.console(&bytes[..count]);
    }
}

/// The first process of the system: the only child of `systemd-nspawn`, as soon as there is one that is a systemd.
async fn leader_of(supervisor: u32) -> u32 {
    loop {
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "systemd" {
                return child;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
