//! Finds and ends the processes of a stack, whoever started them.

use crate::effects::process::Running;
use crate::effects::wait::{Patience, State, until_blocking};
use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// PostgreSQL kills its own backends 5 s after SIGQUIT.
const PATIENCE: Duration = Duration::from_secs(7);
const AFTER_KILL: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(5);

/// Lets initdb wait for the server that it runs: that one, when killed, leaves its shared memory behind.
pub(super) const INITDB_ENDING: Signal = Signal::SIGTERM;

/// A running process that belongs to a stack.
pub(super) struct Process {
    pub pid: u32,
    /// What ends it: SIGQUIT for PostgreSQL, which then takes its backends along.
    ending: Signal,
}

/// A process that we started, and have to reap.
pub(super) struct Started {
    pub child: Running,
    pub ending: Signal,
}

/// The processes whose command line shows that they serve the stack in `dir`. A pid from a file proves
/// nothing (it may be another's by now), and a killed tool may have written none.
pub(super) fn of(dir: &Path) -> Vec<Process> {
    let Ok(proc) = fs::read_dir("/proc") else { return Vec::new() };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    proc.flatten()
        .filter_map(pid)
        .filter_map(|pid| {
            let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some(Process { pid, ending: ending(&command_line, dir)? })
        })
        .collect()
}

/// `None`: not ours. Only the programs we start count, so that a pager on a log lives on.
fn ending(command_line: &[u8], dir: &Path) -> Option<Signal> {
    let mut arguments = command_line.split(|byte| *byte == 0);
    let program = arguments.next()?;
    // a backend's title: `cluster_name` is set for this
    if let Some(title) = program.strip_prefix(b"postgres: ") {
        let stack = dir.file_name()?.as_bytes();
        return title.strip_prefix(stack)?.starts_with(b"/").then_some(Signal::SIGQUIT);
    }
    let ending = match program.rsplit(|byte| *byte == b'/').next()? {
        b"postgres" => Signal::SIGQUIT,
        b"initdb" => INITDB_ENDING,
        b"java" => Signal::SIGKILL,
        _ => return None,
    };
    let inside = [dir.as_os_str().as_bytes(), b"/"].concat();
    let names_dir = |argument: &[u8]| {
        argument.starts_with(&inside)
            || argument.strip_prefix(b"-Djava.io.tmpdir=").is_some_and(|value| value.starts_with(&inside))
    };
    arguments.any(names_dir).then_some(ending)
}

/// Ends the children and everything else that serves the stack in `dir`, and waits until it is gone.
/// The error names what survived even SIGKILL.
pub(super) fn end(dir: &Path, children: &mut Vec<Started>) -> Result<()> {
    for started in children.iter() {
        send(started.child.pid(), started.ending);
    }
    for process in of(dir) {
        send(process.pid, process.ending);
    }
    if gone(dir, children, PATIENCE)? {
        return Ok(());
    }
    let stubborn = children.iter().map(|started| started.child.pid());
    for pid in stubborn.chain(of(dir).into_iter().map(|process| process.pid)) {
        send(pid, Signal::SIGKILL);
    }
    if gone(dir, children, AFTER_KILL)? {
        return Ok(());
    }
    let left: Vec<String> = of(dir).iter().map(|process| process.pid.to_string()).collect();
    bail!("could not stop process {} of {}", left.join(", "), dir.display());
}

/// To the process, and with SIGKILL to the group it leads as well (initdb has children).
fn send(pid: u32, signal: Signal) {
    let Ok(pid) = i32::try_from(pid).map(Pid::from_raw) else { return };
    // an error means that it is gone, which is what we want; whether it is, gets checked
    if signal == Signal::SIGKILL {
        let _ = killpg(pid, signal);
    }
    let _ = kill(pid, signal);
}

fn gone(dir: &Path, children: &mut Vec<Started>, deadline: Duration) -> Result<bool> {
    let gone = until_blocking(Patience { deadline, interval: TICK }, || {
        children.retain(|started| matches!(started.child.ended(), Ok(None)));
        let gone = children.is_empty() && of(dir).is_empty();
        Ok(if gone { State::Ready(()) } else { State::NotYet(()) })
    });
    Ok(matches!(gone?, State::Ready(())))
}
