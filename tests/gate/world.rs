//! Supervisor and keeper in a place of their own, their command, and what is left of it.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _, Write as _},
    ops::{Deref, DerefMut},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    driver::{EXE, ReadLineBounded as _, SCRIPT, SOCKET, STATE},
    placed::{Left, PATIENCE, Place, Placed, Spot},
};

pub struct World {
    pub folder: TempDir,
    left: Left,
    socket: UnixStream,
    replies: BufReader<UnixStream>,
    placed: Placed,
}

/// What a command does first: it holds the pipe open, for itself and all that it starts, and says that it is there.
const HOLD: &str = "exec 9>$GATE_TEST_LEFT; echo up >&9; ";

impl World {
    pub fn new(place: Place, script: &str) -> Self {
        let (world, said) = Self::begin(place, Some(script));
        assert_eq!(said, "here");
        world
    }

    /// Without a script its command does not exist. Also what it says first.
    pub fn begin(place: Place, script: Option<&str>) -> (Self, String) {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let pipe = folder.path().join("left");
        let left = Left::at(&pipe);
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        fs::set_permissions(folder.path().join("socket"), fs::Permissions::from_mode(0o777)).unwrap();

        let mut spot = Spot::new(place);
        let command = &mut spot.command;
        command.arg(std::env::current_exe().unwrap()).args(["driver::driver", "--exact", "--nocapture"]);
        command.env(SOCKET, folder.path().join("socket")).env("GATE_TEST_LEFT", &pipe);
        if place == Place::ContainerOfNobody {
            // The build may be in a folder that only root can enter.
            let copy = folder.path().join("gate");
            fs::copy(env!("CARGO_BIN_EXE_failover-gate"), &copy).unwrap();
            command.env(EXE, copy);
        }
        if place != Place::ContainerOfNobody && place != Place::Nowhere {
            command.env(STATE, folder.path().join("state"));
        }
        if let Some(script) = script {
            command.env(SCRIPT, format!("{HOLD}{script}"));
        }
        // Nobody reads what it or its command writes.
        let errors = File::create(folder.path().join("errors")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).process_group(0);
        let placed = spot.spawn();
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let replies = BufReader::new(socket.try_clone().unwrap());
        let mut world = Self { folder, left, socket, replies, placed };
        let said = world.reply();
        (world, said)
    }

    pub fn say(&mut self, what: &str) {
        writeln!(self.socket, "{what}").unwrap();
    }

    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        (&mut self.replies).take(2000).read_line_bounded(&mut line);
        let errors = failover::files::read_text(&self.folder.path().join("errors"), failover::files::MOST);
        assert!(line.ends_with('\n'), "no answer; its errors: {}", errors.unwrap());
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, what: &str) -> String {
        self.say(what);
        self.reply()
    }

    /// Starts it for longer than any test.
    pub fn start(&mut self) {
        assert_eq!(self.ask("start 100000 200000"), "running");
        assert_eq!(self.heard(), "up\n");
    }

    pub fn heard(&mut self) -> String {
        self.left.heard()
    }

    pub fn is_gone(&self, within: Duration) -> bool {
        self.left.is_gone(within)
    }

    pub fn has_said_nothing(&self) -> bool {
        self.left.has_said_nothing()
    }
}

impl Deref for World {
    type Target = Placed;

    fn deref(&self) -> &Placed {
        &self.placed
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Placed {
        &mut self.placed
    }
}
