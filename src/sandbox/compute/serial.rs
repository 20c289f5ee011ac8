//! The serial ports of the machines: what was written to them, as Compute Engine keeps and answers it.
//!
//! Not the interactive console, for which the real service has a host of its own.

use http::StatusCode;
use serde_json::json;

use super::{
    Answer,
    fault::Fault,
    routes::{Call, invalid, missing},
    world::World,
};

/// Compute Engine keeps the last mebibyte of a port; what is older is gone.
const KEPT: usize = 1 << 20;
/// A machine has four of them. A Debian image writes its console to the first.
const PORTS: std::ops::RangeInclusive<u32> = 1..=4;

/// What was written to one port, and how much of it has been dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Port {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Port {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let too_many = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..too_many);
        self.dropped += too_many as u64;
    }

    fn end(&self) -> u64 {
        self.dropped + self.bytes.len() as u64
    }

    /// What stands from this position, and the position that it then is. A position that was dropped becomes the oldest
    /// that is kept, one that has not been written yet the end, and a negative one counts from the end.
    fn read(&self, start: i64) -> (u64, &[u8]) {
        let asked = match u64::try_from(start) {
            Ok(position) => position,
            Err(_) => self.end().saturating_sub(start.unsigned_abs()),
        };
        let position = asked.clamp(self.dropped, self.end());
        let from = usize::try_from(position - self.dropped).unwrap_or(self.bytes.len());
        (position, &self.bytes[from..])
    }
}

pub(super) fn output(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let number = |key: &str, default: &str| call.query.get(key).map_or(default, String::as_str).parse::<i64>();
    let (Ok(port), Ok(start)) = (number("port", "1"), number("start", "0")) else {
        return invalid("Invalid value for field 'port' or 'start': not a number");
    };
    let Some(port) = u32::try_from(port).ok().filter(|port| PORTS.contains(port)) else {
        return invalid(&format!("Invalid value for field 'port': '{port}'. Must be between 1 and 4"));
    };
    let link = world.link(call.project, &rest.join("/"));
    let Some(machine) = world.find(rest[1], rest[3]) else { return missing(&rest.join("/")) };
    if machine.status() == "PROVISIONING" {
        let message = format!("The resource '{}' is not ready", rest[..4].join("/"));
        return Answer::error(StatusCode::BAD_REQUEST, "resourceNotReady", &message);
    }
    // Only the first port has a writer here; the others are silent, as they are on a Debian image.
    let silent = Port::default();
    let port = if port == 1 { &machine.console } else { &silent };
    let (position, bytes) = port.read(start);
    let body = json!({
        "kind": "compute#serialPortOutput",
        // JSON has only text; bytes that are none are shown as the sign for that.
        "contents": String::from_utf8_lossy(bytes),
        "start": position.to_string(),
        "next": port.end().to_string(),
        "selfLink": link,
    });
    Answer::ok("SerialPortOutput", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mebibyte_is_kept_and_a_position_that_is_gone_becomes_the_oldest_there_is() {
        let mut port = Port::default();
        assert_eq!(port.read(0), (0, &b""[..]));
        port.write(b"one\ntwo\n");
        assert_eq!(port.read(0), (0, &b"one\ntwo\n"[..]));
        assert_eq!(port.read(4), (4, &b"two\n"[..]));
        assert_eq!(port.read(-4), (4, &b"two\n"[..]));
        assert_eq!(port.read(-400), (0, &b"one\ntwo\n"[..]));
        assert_eq!(port.read(8), (8, &b""[..]), "nothing new");
        assert_eq!(port.read(1000), (8, &b""[..]), "nothing is there yet");
        port.write(&vec![b'x'; KEPT - 2]);
        assert_eq!(port.end(), 6 + KEPT as u64);
        let (position, bytes) = port.read(0);
        assert_eq!((position, bytes.len()), (6, KEPT));
        assert!(bytes.starts_with(b"o\nxxx"));
    }
}
