//! What single parts of the server take from the settings.

use driftless_proto::engine::{Relay, ReplicaOptions};

use super::kinds::RelayMode;
use super::table::Settings;
use crate::adapters::tls::CertificateFiles;

/// The bounds and times of a replica.
pub fn replica_options(settings: &Settings) -> ReplicaOptions {
    ReplicaOptions {
        relay: match settings.relay {
            RelayMode::Immediate => Relay::Immediate,
            RelayMode::Durable => Relay::Durable,
        },
        document_bytes_max: in_memory(settings.document_bytes_max),
        update_bytes_max: in_memory(settings.frame_bytes_max),
        chunk_bytes: in_memory(settings.chunk_bytes),
        presence_timeout_ms: settings.presence_timeout_ms,
        presence_grace_ms: settings.presence_grace_ms,
        presence_entry_bytes_max: in_memory(settings.presence_bytes_max),
        presence_entries_max: in_memory(settings.presence_entries_max),
        presence_per_second_max: settings.presence_per_second_max,
        presence_identity_field: settings.presence_identity_field.clone(),
        stateless_bytes_max: in_memory(settings.stateless_bytes_max),
        client_ids: settings.client_ids,
    }
}

/// Where the certificate of the doors lies, if they speak TLS.
pub fn certificate_files(settings: &Settings) -> Option<CertificateFiles> {
    Some(CertificateFiles {
        certificate: settings.tls_certificate.clone()?,
        key: settings.tls_key.clone()?,
    })
}

/// Only a machine with small addresses could not count so far, nor hold as much.
fn in_memory(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
