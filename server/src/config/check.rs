//! What one setting demands of another.

use super::error::ConfigError;
use super::table::Settings;
use super::units::{show_duration_ms, show_size};

/// Refuses settings that contradict each other.
pub fn consistent(settings: &Settings) -> Result<(), ConfigError> {
    if settings.frame_bytes_max < settings.document_bytes_max {
        return Err(ConfigError::Conflict(format!(
            "`frame_bytes_max` ({}) is below `document_bytes_max` ({}), but a client may send a \
             whole document in one frame; raise the one or lower the other",
            show_size(settings.frame_bytes_max),
            show_size(settings.document_bytes_max),
        )));
    }
    if settings.peer_timeout_ms <= settings.keepalive_ms {
        return Err(ConfigError::Conflict(format!(
            "`peer_timeout_ms` ({}) must be longer than `keepalive_ms` ({}), or quiet peers that \
             are alive would be cut off",
            show_duration_ms(settings.peer_timeout_ms),
            show_duration_ms(settings.keepalive_ms),
        )));
    }
    if settings.commit_queue_bytes_max < settings.frame_bytes_max {
        return Err(ConfigError::Conflict(format!(
            "`commit_queue_bytes_max` ({}) is below `frame_bytes_max` ({}), so that the largest \
             allowed edit could never wait for its commit; raise the one or lower the other",
            show_size(settings.commit_queue_bytes_max),
            show_size(settings.frame_bytes_max),
        )));
    }
    Ok(())
}

/// Refuses to serve strangers: asked by `serve`, not by commands that open no port.
pub fn guarded(settings: &Settings) -> Result<(), ConfigError> {
    if settings.insecure_open || settings.listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ConfigError::Conflict(format!(
        "`listen` is {}, which other machines can reach, and this version authenticates nobody: \
         whoever reaches the port could read and change every document. Listen on 127.0.0.1 \
         behind a proxy that authenticates, or accept the risk with --insecure-open",
        settings.listen
    )))
}
