//! What the generator and the server use: CPU time, memory, descriptors, and where they run.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::unistd::Pid;

/// The kernel's clock ticks per second in /proc/PID/stat; 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Keeps the generator on one CPU.
pub(crate) fn pin(cpu: usize) -> std::io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    Ok(())
}

/// Lets the generator (and a server it starts) open as many sockets as the machine allows.
pub(crate) fn raise_descriptor_limit() -> std::io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let micros = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
    };
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// A process whose usage is read from /proc.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Whether it is there to be measured.
    pub(crate) fn exists(self) -> bool {
        self.cpu_seconds().is_some()
    }

    /// CPU seconds, user and system, of all its threads. Source: proc(5), fields 14 and 15.
    pub(crate) fn cpu_seconds(self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        parse_cpu_seconds(&stat)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        parse_resident_bytes(&status)
    }
}

fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    // The name in parentheses may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn parse_resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse_cpu_seconds(stat), Some(2.0));
        let status = "Name:\tx\nVmRSS:\t    2048 kB\n";
        assert_eq!(parse_resident_bytes(status), Some(2_097_152));
    }

    #[test]
    fn the_own_process_can_be_measured() {
        let own = Process(std::process::id());
        assert!(own.exists());
        assert!(own.resident_bytes().is_some_and(|bytes| bytes > 0));
        assert!(!Process(u32::MAX).exists());
    }
}
