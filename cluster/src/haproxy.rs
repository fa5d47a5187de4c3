//! HAProxy in front of the nodes: TCP, round robin, asking each node whether it is ready.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ClusterError;
use crate::part::{Part, Process, ask};
use crate::{place, programs};

/// A balancer of nodes.
#[derive(Debug)]
pub struct HaProxy {
    process: Process,
    program: PathBuf,
    configuration: PathBuf,
}

impl HaProxy {
    /// Writes the configuration below `parent`; nothing runs yet. With `says_who` nodes are told the
    /// clients' addresses in the PROXY protocol, version 2.
    pub fn new(parent: &Path, nodes: &[u16], says_who: bool) -> Result<Self, ClusterError> {
        let program = programs::find("haproxy")?;
        let port = place::free_port()?;
        let configuration = parent.join("haproxy.cfg");
        std::fs::write(&configuration, configure(port, nodes, says_who))
            .map_err(ClusterError::io("write haproxy.cfg"))?;
        Ok(Self {
            process: Process::new("haproxy", port, parent.join("haproxy.log")),
            program,
            configuration,
        })
    }
}

impl Part for HaProxy {
    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn command(&self) -> Result<Command, ClusterError> {
        let mut command = programs::bound(&self.program, None);
        // In the foreground, without a master process.
        command.args(["-db", "-f"]).arg(&self.configuration);
        Ok(command)
    }

    fn is_ready(&self) -> bool {
        // Answered by a node: the balancer and at least one node work.
        let request = b"GET /readyz HTTP/1.0\r\n\r\n";
        ask(self.process.port(), request).is_some_and(|answer| answer.starts_with(b"HTTP/1."))
    }
}

fn configure(port: u16, nodes: &[u16], says_who: bool) -> String {
    let mut text = format!(
        "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n  \
         timeout check 2s\n  retries 3\n  option redispatch\n\n\
         frontend clients\n  bind 127.0.0.1:{port}\n  default_backend nodes\n\n\
         backend nodes\n  balance roundrobin\n  option httpchk GET /readyz\n"
    );
    let proxy = if says_who {
        " send-proxy-v2 check-send-proxy"
    } else {
        ""
    };
    for (number, node) in (1..).zip(nodes) {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  server node-{number} 127.0.0.1:{node} check inter 500ms fall 2 rise 1{proxy}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_checked_and_the_flag_is_off_unless_asked_for() {
        let text = configure(1, &[2, 3], false);
        assert!(text.contains("bind 127.0.0.1:1\n"));
        assert!(text.contains("server node-2 127.0.0.1:3 check"));
        assert!(!text.contains("proxy-v2"));
        assert!(configure(1, &[2], true).contains("send-proxy-v2"));
    }
}
