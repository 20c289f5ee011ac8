//! The serial port of the fake Compute Engine, as the official client reads it.

use failover::sandbox::compute::{Fault, Method};
use google_cloud_auth::credentials::anonymous;
use google_cloud_compute_v1::{client::Instances, model::SerialPortOutput};

use crate::compute::{Rig, created, rig};

struct Reader {
    client: Instances,
    machine: String,
}

impl Reader {
    async fn read(&self, start: i64) -> google_cloud_compute_v1::Result<SerialPortOutput> {
        let request = self.client.get_serial_port_output().set_project("home-failover").set_zone("us-central1-a");
        request.set_instance(&self.machine).set_port(1).set_start(start).send().await
    }

    /// Contents, start and next.
    async fn text(&self, start: i64) -> (String, i64, i64) {
        let output = self.read(start).await.unwrap();
        (output.contents.unwrap(), output.start.unwrap(), output.next.unwrap())
    }
}

async fn reader(rig: &Rig) -> Reader {
    let machine = created(rig).await.name;
    let builder =
        Instances::builder().with_endpoint(rig.fake.url()).with_credentials(anonymous::Builder::new().build());
    Reader { client: builder.build().await.unwrap(), machine }
}

#[tokio::test]
async fn a_console_is_followed_from_where_it_was_left_and_nothing_comes_twice() {
    let rig = rig().await;
    let reader = reader(&rig).await;
    assert_eq!(reader.text(0).await, (String::new(), 0, 0), "nothing was written yet");
    rig.fake.serial_write(&reader.machine, b"failover: booting\n");
    let (text, start, next) = reader.text(0).await;
    assert_eq!((text.as_str(), start, next), ("failover: booting\n", 0, 18));
    assert_eq!(reader.text(next).await, (String::new(), 18, 18));
    rig.fake.serial_write(&reader.machine, b"failover: done\n");
    assert_eq!(reader.text(next).await, ("failover: done\n".into(), 18, 33));
    assert_eq!(reader.text(-5).await, ("done\n".into(), 28, 33), "the most recent bytes");
}

#[tokio::test]
async fn what_is_older_than_a_mebibyte_is_gone_and_the_answer_says_from_where_it_reads() {
    let rig = rig().await;
    let reader = reader(&rig).await;
    let line = [b'x'; 1024];
    (0..1025).for_each(|_| rig.fake.serial_write(&reader.machine, &line));
    let (text, start, next) = reader.text(0).await;
    assert_eq!((text.len(), start, next), (1 << 20, 1024, 1025 * 1024));
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_break_the_answer() {
    let rig = rig().await;
    let reader = reader(&rig).await;
    rig.fake.serial_write(&reader.machine, b"\xff\x1b[2J\0");
    let (text, _, next) = reader.text(0).await;
    assert_eq!((text.as_str(), next), ("\u{fffd}\u{1b}[2J\0", 6));
}

#[tokio::test]
async fn a_machine_that_is_not_there_and_a_fault_are_errors() {
    let rig = rig().await;
    let reader = reader(&rig).await;
    rig.fake.fault(Method::SerialPort, Fault::Status(403, "forbidden"));
    assert_eq!(reader.read(0).await.unwrap_err().http_status_code(), Some(403));
    reader.read(0).await.unwrap();
    rig.fake.vanish(&reader.machine);
    assert_eq!(reader.read(0).await.unwrap_err().http_status_code(), Some(404));
}
