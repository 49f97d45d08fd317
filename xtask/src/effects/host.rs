//! This machine: who runs this process on which host, and whether a process of before is still alive.

use crate::journal::Process;
use nix::unistd::{User, gethostname, getuid};
use std::fs;

/// `user@host`, for those who look at a session or a journal.
pub fn user_at_host() -> String {
    format!("{}@{}", user(), host())
}

fn user() -> String {
    let uid = getuid();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// This machine's name.
pub fn host() -> String {
    gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "unknown".into())
}

pub fn this_process() -> Process {
    let pid = std::process::id();
    Process { pid, host: host(), user: user(), started: started(pid) }
}

/// `None`: it is on another host, and cannot be seen from here.
pub fn is_alive(process: &Process) -> Option<bool> {
    if process.host != host() {
        return None;
    }
    Some(match started(process.pid) {
        Some(started) => process.started.is_none_or(|s| s == started),
        None => false,
    })
}

/// When the process was started, in clock ticks since the machine's start (proc(5): the 22nd field of
/// stat; the second is a name in parentheses that may hold anything). `None`: it is not alive.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    // Ended, and not yet reaped by its parent.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let own = this_process();
        assert_eq!(is_alive(&own), Some(true));
        let before = Process { started: own.started.map(|s| s - 1), ..own.clone() };
        assert_eq!(is_alive(&before), Some(false), "another one with its pid");
        let elsewhere = Process { host: "elsewhere".into(), ..own };
        assert_eq!(is_alive(&elsewhere), None);
    }

    #[test]
    fn one_that_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process { pid: child.id(), started: started(child.id()), ..this_process() };
        assert_eq!(is_alive(&process), Some(true));
        child.kill().unwrap();
        while is_alive(&process) == Some(true) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(is_alive(&process), Some(false));
    }
}
