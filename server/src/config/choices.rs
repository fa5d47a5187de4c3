//! Settings that are one of a few words.

use driftless_proto::engine::ClientIds;

use super::kinds::Kind;

/// Reads a [`ClientIds`].
#[derive(Debug)]
pub struct ClientIdRule;

impl Kind for ClientIdRule {
    type Value = ClientIds;
    const SYNTAX: &'static str = "free|bound";

    fn parse(text: &str) -> Result<ClientIds, String> {
        match text {
            "free" => Ok(ClientIds::Free),
            "bound" => Ok(ClientIds::Bound),
            _ => Err("`free` or `bound`".into()),
        }
    }

    fn show(value: &ClientIds) -> String {
        match value {
            ClientIds::Free => "free".into(),
            ClientIds::Bound => "bound".into(),
        }
    }
}
