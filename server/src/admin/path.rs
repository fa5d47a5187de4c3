//! Where the admin socket lies, and how to name it when the path is too long for a socket.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the socket in the data folder.
pub const SOCKET_NAME: &str = "admin.sock";

/// The longest path that every system takes as a socket address (macOS: 104 with the final zero).
const ADDRESS_BYTES_MAX: usize = 103;

/// A path that fits a socket address, and what must live as long as it is used.
#[derive(Debug)]
pub struct SocketAddress {
    /// The path to bind or connect to.
    pub path: PathBuf,
    /// On Linux a long path is reached through the folder's descriptor.
    _folder: Option<File>,
}

/// The address of `name` in `folder`.
pub fn address(folder: &Path, name: &str) -> io::Result<SocketAddress> {
    let path = folder.join(name);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        let _folder = None;
        return Ok(SocketAddress { path, _folder });
    }
    through_descriptor(folder, name)
}

#[cfg(target_os = "linux")]
fn through_descriptor(folder: &Path, name: &str) -> io::Result<SocketAddress> {
    use std::os::fd::AsRawFd;
    let folder = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    let _folder = Some(folder);
    Ok(SocketAddress { path, _folder })
}

#[cfg(not(target_os = "linux"))]
fn through_descriptor(folder: &Path, _name: &str) -> io::Result<SocketAddress> {
    let told = format!(
        "the path {} is too long for a unix socket; choose a shorter data folder",
        folder.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, told))
}
