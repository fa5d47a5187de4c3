//! The y-websocket dialect.
