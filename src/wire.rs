//! Bytes of everything stored or sent: JSON of events, updates, changes, settings and rows.
//!
//! The only module beside the edges that names serde. Every stored form carries a version or is
//! the public contract; old versions decode, unknown ones are refused by name.

pub mod change;
pub mod command;
mod common;
pub mod dead_letter;
pub mod event;
pub mod heartbeat;
mod hold;
pub mod ledger;
pub mod maintenance;
pub mod rate;
pub mod request;
pub mod row;
pub mod settings;
pub mod silence;
pub mod topology;
pub mod update;

/// Bytes that are none of the forms this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(pub String);

impl From<serde_json::Error> for WireError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// The bytes of a form that is about so long.
fn to_vec(form: &impl serde::Serialize, about: usize) -> Vec<u8> {
    // Growing step by step took a seventh of correlate's time.
    let mut bytes = Vec::with_capacity(about);
    serde_json::to_writer(&mut bytes, form).expect("a form has only text keys");
    bytes
}
