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
    /// It answered as it should, and said nothing: what was asked is unknown.
    #[error("says nothing to {question} yet")]
    Nothing { question: &'static str },
    #[error("refused {question} ({message})")]
    Refusal { question: &'static str, message: String },
}

#[derive(Deserialize)]
struct RpcAnswer {
    /// Null is an answer too, and none of what was asked.
    #[serde(default, deserialize_with = "some")]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

fn some<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(input).map(Some)
}

/// The plainest words of a refusal, whatever form it has.
fn refusal(error: &Value) -> String {
    let words = error["data"].as_str().or_else(|| error["message"].as_str()).or_else(|| error.as_str());
    brief(&words.map_or_else(|| error.to_string(), str::to_owned))
}

/// What an answer says to this question. CometBFT refuses with status 500, and the reason in the same envelope.
pub(super) fn read<T: DeserializeOwned>(question: &'static str, status: u16, body: &[u8]) -> Result<T, RpcError> {
    match (status, serde_json::from_slice::<RpcAnswer>(body)) {
        (_, Ok(RpcAnswer { error: Some(error), .. })) => Err(RpcError::Refusal { question, message: refusal(&error) }),
        (200, Ok(RpcAnswer { result: Some(Value::Null), error: None })) => Err(RpcError::Nothing { question }),
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

/// A whole number as JSON-RPC writes one: in hexadecimal with `0x`, in decimal as a string (so that all of 64 bits
/// survive), or plainly. Anything else, null among it, is none.
pub(super) fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn not_rpc(error: &serde_json::Error) -> RpcError {
    RpcError::NotRpc(brief(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_null_says_nothing_and_is_json_rpc_all_the_same() {
        let read = |body: &str| read::<Value>("eth_syncing", 200, body.as_bytes());
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":1,"result":null}"#),
            Err(RpcError::Nothing { question: "eth_syncing" })
        );
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":false,"error":null}"#), Ok(Value::Bool(false)));
        assert!(matches!(read(r#"{"jsonrpc":"2.0","id":1}"#), Err(RpcError::NotRpc(_))));
    }

    #[test]
    fn a_refusal_is_one_whatever_form_it_has() {
        for (error, says) in [
            (r#"{"code":-32601,"message":"no such method"}"#, "no such method"),
            (r#"{"code":-32603,"message":"Internal error","data":"busy"}"#, "busy"),
            (r#"{"code":-32601,"message":null,"data":null}"#, r#"{"code":-32601,"data":null,"message":null}"#),
            (r#""not now""#, "not now"),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
            let refused = read::<Value>("status", 500, body.as_bytes());
            assert_eq!(refused, Err(RpcError::Refusal { question: "status", message: says.into() }));
        }
    }
}
