//! Far ends of a gate that say one thing each: a metadata server, a beacon node.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::local_house::ROOT;

type Answers = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Answers each path with what is there for it, and every other one with 404.
pub struct FarEnd {
    pub address: SocketAddr,
    answers: Answers,
}

impl FarEnd {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, answers) = (listener.local_addr().unwrap(), Answers::default());
        let shared = Arc::downgrade(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // The last connection, below, comes when nobody has it any more.
                let Some(answers) = shared.upgrade() else { return };
                let _ = answer(stream.unwrap(), &answers.lock().unwrap());
            }
        });
        Self { address, answers }
    }

    pub fn say(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.answers.lock().unwrap().insert(path.to_owned(), body.into());
    }

    /// A machine in Compute Engine, without a grant as yet.
    pub fn machine(instance: u64) -> Self {
        let end = Self::new();
        end.say("/computeMetadata/v1/instance/id", instance.to_string());
        end
    }

    pub fn carry_grant(&self, bytes: Vec<u8>) {
        self.say(&format!("/computeMetadata/v1/instance/attributes/{}", failover::domain::GRANT_KEY), bytes);
    }

    /// A node in its hundredth slot, the longest that a chain may have, of epochs of five hours. It says nothing of duties.
    pub fn beacon() -> Self {
        let end = Self::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let genesis = now - 100 * 600 - 60;
        let root =
            format!("{{\"data\": {{\"genesis_time\": \"{genesis}\", \"genesis_validators_root\": \"{ROOT}\"}}}}");
        end.say("/eth/v1/beacon/genesis", root);
        end.say("/eth/v1/config/spec", "{\"data\": {\"SECONDS_PER_SLOT\": \"600\", \"SLOTS_PER_EPOCH\": \"32\"}}");
        let syncing =
            "\"head_slot\": \"100\", \"sync_distance\": \"0\", \"is_syncing\": false, \"is_optimistic\": false";
        end.say("/eth/v1/node/syncing", format!("{{\"data\": {{{syncing}, \"el_offline\": false}}}}"));
        end
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.answers = Answers::default();
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: TcpStream, answers: &HashMap<String, Vec<u8>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut bytes = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 << 10 {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&bytes[..length]);
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).and_then(|path| path.split('?').next()).unwrap_or_default();
    let (status, body) = match answers.get(path) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nmetadata-flavor: Google\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}
