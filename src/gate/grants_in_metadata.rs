//! What a machine in the cloud knows of itself, and the grant that was left for it, by its metadata server.

use std::time::Duration;

use crate::{
    adapters::metadata::{MetadataError, MetadataServer},
    domain::{GRANT_KEY, InstanceId},
    files,
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a machine cannot say which one it is, or whether it has a grant.
#[derive(Debug, thiserror::Error)]
pub enum MachineMetadataError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("the metadata server says no instance id: does this machine run in Compute Engine?")]
    NoInstance,
    #[error("the kernel's boot id in {BOOT_ID} cannot be read: {0}")]
    Boot(std::io::Error),
}

pub struct MachineMetadata {
    server: MetadataServer,
}

impl MachineMetadata {
    /// By the usual metadata server, or the one that `GCE_METADATA_HOST` names.
    ///
    /// # Errors
    /// When that is no host.
    pub fn new() -> Result<Self, MetadataError> {
        Ok(Self { server: MetadataServer::from_environment(TIMEOUT)? })
    }

    #[cfg(test)]
    fn at(host: String) -> Self {
        Self { server: MetadataServer::at(Some(host.into()), TIMEOUT).unwrap() }
    }

    /// Asked at every start: a disk that was moved to another machine has another id here.
    ///
    /// # Errors
    /// [`MachineMetadataError`]
    pub async fn instance(&self) -> Result<InstanceId, MachineMetadataError> {
        let answer = self.server.get("instance/id").await?;
        let id = answer.and_then(|id| String::from_utf8(id).ok()?.trim().parse::<u64>().ok());
        id.map(InstanceId::from).ok_or(MachineMetadataError::NoInstance)
    }

    /// The bytes of the grant as it was left; nothing is known about them. `None` while there is none.
    ///
    /// # Errors
    /// [`MachineMetadataError::Metadata`]
    pub async fn grant(&self) -> Result<Option<Vec<u8>>, MachineMetadataError> {
        Ok(self.server.get(&format!("instance/attributes/{GRANT_KEY}")).await?)
    }

    /// This boot, by the kernel.
    ///
    /// # Errors
    /// [`MachineMetadataError::Boot`]
    pub fn boot_id() -> Result<String, MachineMetadataError> {
        let text = files::read_text(BOOT_ID.as_ref(), 64).map_err(MachineMetadataError::Boot)?;
        Ok(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const OK: &str = "200 OK\r\nmetadata-flavor: Google";

    /// Answers one request with this, and returns its first line.
    async fn answered<T>(status: &str, body: &str, ask: impl AsyncFnOnce(MachineMetadata) -> T) -> (T, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let machine = MachineMetadata::at(listener.local_addr().unwrap().to_string());
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        };
        let (got, request) = tokio::join!(ask(machine), server);
        (got, request.lines().next().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_machine_knows_its_id_and_no_other_number_passes_for_one() {
        let (id, line) = answered(OK, "4520031799277581759\n", async |machine| machine.instance().await).await;
        assert_eq!(id.unwrap(), InstanceId::from(4_520_031_799_277_581_759));
        assert_eq!(line, "GET /computeMetadata/v1/instance/id HTTP/1.1");
        for (status, body) in [(OK, "<html>"), ("404 Not Found", "")] {
            let (id, _) = answered(status, body, async |machine| machine.instance().await).await;
            assert!(matches!(id, Err(MachineMetadataError::NoInstance)), "{id:?}");
        }
    }

    #[tokio::test]
    async fn a_grant_that_is_not_there_is_no_error_and_no_answer_is_one() {
        let (grant, line) = answered("404 Not Found", "", async |machine| machine.grant().await).await;
        assert!(grant.unwrap().is_none());
        assert_eq!(line, "GET /computeMetadata/v1/instance/attributes/failover-grant HTTP/1.1");
        let (grant, _) = answered(OK, "{}", async |machine| machine.grant().await).await;
        assert_eq!(grant.unwrap(), Some(b"{}".to_vec()));
        let (grant, _) = answered("503 Unavailable", "", async |machine| machine.grant().await).await;
        assert!(
            matches!(grant, Err(MachineMetadataError::Metadata(_))),
            "no answer is not the answer that there is none"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_googles_is_not_believed() {
        let (id, _) = answered("200 OK", "7", async |machine| machine.instance().await).await;
        assert!(matches!(id, Err(MachineMetadataError::Metadata(MetadataError::Other))), "{id:?}");
    }

    #[test]
    fn a_boot_has_an_id() {
        assert_eq!(MachineMetadata::boot_id().unwrap().len(), 36);
    }
}
