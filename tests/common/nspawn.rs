//! Machines of the fake cloud that are really booted: each is a Debian of its own under `systemd-nspawn`, with the
//! metadata server of its machine, its console on the serial port, and a start-up script that is run as Google's agent
//! runs it: at every boot, as root.
//!
//! It is no virtual machine: kernel and clock are the host's. Its network is its own and empty but for loopback, where
//! the few ports of the host stand that it may reach, under the same numbers: nothing it opens can meet anything of the
//! host, and nothing it asks for can leave.

use std::{
    collections::HashMap,
    fs, io,
    net::Ipv4Addr,
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
    net::{TcpStream, UnixListener},
    process::{Child, Command},
    task::JoinSet,
};

/// What `systemd-nspawn` ends with when the system on it wants to be started again.
const REBOOT: i32 = 133;

/// What Google's guest agent does at every boot, in a few lines: the script comes from the metadata server, and what it
/// says goes to the journal and to the console, which is the first serial port.
const RUNNER: &str = r#"#!/bin/sh
ln -sf /dev/console /dev/ttyS0
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

/// A port of the host, on the machine: what connects to it there comes out of the socket of the same name here.
const PORT_SOCKET: &str = "[Socket]\nListenStream=127.0.0.1:%i\n";
const PORT_SERVICE: &str = "[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd /opt/host-ports/%i\n";

/// Where the machine finds the disk for the chain, as Google's udev rules name it.
const DISK: &str = "/dev/disk/by-id/google-chaindata";

/// Boots machines from copies of one image.
pub struct Nspawn {
    image: PathBuf,
    ports: Vec<u16>,
    disk_bytes: Option<u64>,
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
        Self {
            image,
            ports: Vec::new(),
            disk_bytes: None,
            folder,
            running: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Machines may reach this port of the host's loopback too, beside their metadata server.
    #[must_use]
    pub fn reaching(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports.extend(ports);
        self
    }

    /// Machines have an empty disk of this size for the chain. It takes only as much space as is written to it.
    #[must_use]
    pub fn with_disk(mut self, bytes: u64) -> Self {
        self.disk_bytes = Some(bytes);
        self
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
        nsenter.args(["--target", &leader.to_string(), "--mount", "--pid", "--uts", "--ipc", "--net", "--"]);
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
        prepare(&root, machine, &self.ports_of(machine))?;
        Ok(root)
    }

    fn ports_of(&self, machine: &Powered) -> Vec<u16> {
        self.ports.iter().copied().chain([machine.metadata.port()]).collect()
    }

    /// The near ends of the machine's ports, in a folder for the machine. They are open as long as the set lives.
    fn open_ports(&self, machine: &Powered) -> io::Result<(PathBuf, JoinSet<()>)> {
        let folder = self.folder.path().join(format!("{}-ports", machine.id));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder)?;
        let mut tunnels = JoinSet::new();
        for port in self.ports_of(machine) {
            tunnels.spawn(tunnel(UnixListener::bind(folder.join(port.to_string()))?, port));
        }
        Ok((folder, tunnels))
    }

    /// The machine's disk as a device of the host.
    fn plug_in_disk(&self, machine: &Powered) -> io::Result<Option<LoopDevice>> {
        let Some(bytes) = self.disk_bytes else { return Ok(None) };
        let path = self.folder.path().join(format!("{}-disk", machine.id));
        if !path.exists() {
            fs::File::create(&path)?.set_len(bytes)?;
        }
        LoopDevice::of(&path).map(Some)
    }

    async fn boot(&self, machine: &Powered) -> io::Result<Ended> {
        let root = self.copy(machine)?;
        let (ports, _tunnels) = self.open_ports(machine)?;
        let disk = self.plug_in_disk(machine)?;
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--register=no", "--keep-unit", "--console=read-only", "--boot"]);
        // Nothing of the host's: no names, no time zone, no journal.
        command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        command.arg("--private-network").arg(format!("--bind={}:/opt/host-ports", ports.display()));
        command.args(disk.iter().flat_map(LoopDevice::binds));
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

/// A file as a disk; it is one no more when this is dropped.
struct LoopDevice(String);

impl LoopDevice {
    fn of(file: &Path) -> io::Result<Self> {
        let output = std::process::Command::new("losetup").args(["--find", "--show"]).arg(file).output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("there is no loop device for a disk: {why}")));
        }
        Ok(Self(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }

    /// Under which names the machine has it: the kernel's, and those that udev would make, which runs on no container.
    fn binds(&self) -> Vec<String> {
        let blkid = std::process::Command::new("blkid").args(["-p", "-o", "value", "-s", "UUID", &self.0]).output();
        let uuid = blkid.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
        let by_uuid = (!uuid.is_empty()).then(|| format!("/dev/disk/by-uuid/{uuid}"));
        let names = [self.0.clone(), DISK.to_owned()].into_iter().chain(by_uuid);
        names.map(|name| format!("--bind={}:{name}", self.0)).collect()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Carries what comes to this socket to the host's port, until it is dropped.
async fn tunnel(listener: UnixListener, port: u16) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        open.spawn(async move {
            // A port where nobody listens looks to the machine like a connection that is closed at once.
            if let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
        while open.try_join_next().is_some() {}
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
fn prepare(root: &Path, machine: &Powered, ports: &[u16]) -> io::Result<()> {
    let write = |path: &str, text: &str, mode: u32| -> io::Result<()> {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it is inside the root"))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    };
    // systemd gives it to every unit, and /etc/environment to anyone who logs in.
    let metadata = format!("GCE_METADATA_HOST={}", machine.metadata);
    let manager = format!("[Manager]\nDefaultEnvironment={metadata}\n");
    write("etc/systemd/system.conf.d/cloud.conf", &manager, 0o644)?;
    write("etc/environment", &format!("{metadata}\n"), 0o644)?;
    write("etc/hostname", &format!("{}\n", machine.name), 0o644)?;
    write("usr/local/sbin/google-startup-script", RUNNER, 0o755)?;
    write("etc/systemd/system/google-startup-scripts.service", UNIT, 0o644)?;
    write("etc/systemd/system/host-port@.socket", PORT_SOCKET, 0o644)?;
    write("etc/systemd/system/host-port@.service", PORT_SERVICE, 0o644)?;
    let enable = |target: &str, unit: &str, instance: &str| -> io::Result<()> {
        let link = root.join(format!("etc/systemd/system/{target}.wants/{instance}"));
        fs::create_dir_all(link.parent().expect("it is inside the root"))?;
        if link.symlink_metadata().is_ok() { Ok(()) } else { std::os::unix::fs::symlink(format!("../{unit}"), link) }
    };
    for port in ports {
        enable("sockets.target", "host-port@.socket", &format!("host-port@{port}.socket"))?;
    }
    enable("multi-user.target", "google-startup-scripts.service", "google-startup-scripts.service")
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
