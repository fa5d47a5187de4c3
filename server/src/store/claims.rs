//! Owners of client ids, as both databases keep them.

use driftless_proto::engine::Claim;

use super::StoreError;

/// The bytes of an owner, as both databases keep them; none for nobody.
pub(super) fn owner_bytes(claim: &Claim) -> Option<&[u8]> {
    claim.owner.as_deref().map(str::as_bytes)
}

/// A claim and the append that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredClaim {
    /// The append's place in the document's log.
    pub sequence: u64,
    /// Whose the client id is.
    pub claim: Claim,
}

impl StoredClaim {
    /// Reads a row: sequence, client and owner. An identity may hold any character, also those that
    /// texts of a database cannot.
    pub(super) fn read(
        sequence: i64,
        client: i64,
        owner: Option<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        let unreadable = |_| StoreError::Damaged(format!("the owner of client id {client}"));
        let owner = owner.map(String::from_utf8).transpose();
        Ok(Self {
            sequence: sequence as u64,
            claim: Claim {
                client: client as u64,
                owner: owner.map_err(unreadable)?.map(Into::into),
            },
        })
    }
}
