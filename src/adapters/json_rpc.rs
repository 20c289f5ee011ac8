//! The envelope of JSON-RPC, as nodes of every chain put their answers in it: a result, or a refusal with its reason.
//!
//! It asks nobody: the ways of asking differ, and belong to those who ask.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::http::PageError;
use crate::domain::brief;

/// Why a node cannot say. Its text is what comes after the node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    #[error(transparent)]
    Page(#[from] PageError),
    /// It answered with an error of HTTP, and no words of its own.
    #[error("answered {0}")]
    Status(u16),
    /// It sent something that is not JSON-RPC, or not what was asked.
    #[error("sent something that is not JSON-RPC ({0})")]
    NotRpc(String),
    #[error("refused {question} ({message})")]
    Refusal { question: &'static str, message: String },
}

#[derive(Deserialize)]
struct RpcAnswer {
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<RpcRefusal>,
}

#[derive(Deserialize)]
struct RpcRefusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// What an answer says to this question. CometBFT refuses with status 500, and the reason in the same envelope.
pub(super) fn read<T: DeserializeOwned>(question: &'static str, status: u16, body: &[u8]) -> Result<T, RpcError> {
    match (status, serde_json::from_slice::<RpcAnswer>(body)) {
        (_, Ok(RpcAnswer { error: Some(error), .. })) => {
            let said = error.data.as_str().unwrap_or(&error.message);
            Err(RpcError::Refusal { question, message: brief(said) })
        }
        (200, Ok(RpcAnswer { result: Some(result), error: None })) => {
            serde_json::from_value(result).map_err(|error| not_rpc(&error))
        }
        (200, Ok(RpcAnswer { result: None, error: None })) => {
            Err(RpcError::NotRpc(format!("{question} has no result")))
        }
        (200, Err(error)) => Err(not_rpc(&error)),
        (status, Ok(RpcAnswer { error: None, .. }) | Err(_)) => Err(RpcError::Status(status)),
    }
}

pub(super) fn not_rpc(error: &serde_json::Error) -> RpcError {
    RpcError::NotRpc(brief(&error.to_string()))
}
