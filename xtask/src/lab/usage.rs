//! What a program costs: its time, its processor time and its children's, and what servers spend
//! meanwhile. Linux only: all of it comes from /proc.

use crate::effects::process::Program;
use anyhow::{Context, Result, bail};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::process::ExitStatus;
use std::time::Instant;

/// Clock ticks a second in /proc: the same on every Linux that Rust's standard library runs on.
const TICKS: f64 = 100.0;

/// A program that has ended.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// From its start to its end.
    pub seconds: f64,
    /// Processor seconds of the program itself.
    pub cpu: f64,
    /// Processor seconds of the children that it has waited for, and theirs.
    pub children_cpu: f64,
}

/// Processor seconds of one process.
#[derive(Clone, Copy, Debug, Default)]
struct ProcessTime {
    parent: u32,
    own: f64,
    reaped: f64,
}

/// Runs a program to its end. It gets a process group of its own, no stdin, and what it writes is kept.
///
/// # Errors
/// Where it cannot be started or watched; how it ended is for the caller to judge.
pub async fn run(program: Program) -> Result<Ran> {
    let started = Instant::now();
    let (output, (at, spent)) = program.own_group().observed(ended).await?;
    let seconds = at.duration_since(started).as_secs_f64();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Ok(Ran { status: output.status, stdout, stderr, seconds, cpu: spent.own, children_cpu: spent.reaped })
}

/// Waits for the end without taking the process away, so that its figures can still be read.
fn ended(pid: u32) -> Result<(Instant, ProcessTime)> {
    let id = Pid::from_raw(i32::try_from(pid)?);
    waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let at = Instant::now();
    Ok((at, spent(pid)?))
}

/// Processor seconds of servers since each was started, with their children, living and gone.
pub fn cpu_of(servers: &[u32]) -> Result<f64> {
    let processes = all_processes()?;
    let mut seconds = 0.0;
    for server in servers {
        let Some(own) = processes.get(server) else { bail!("the server with pid {server} has ended") };
        let children = processes.values().filter(|p| p.parent == *server);
        seconds += own.own + own.reaped + children.map(|c| c.own + c.reaped).sum::<f64>();
    }
    Ok(seconds)
}

/// Processor seconds so far of this process and of the children that it has waited for, in steps of 10 ms.
pub fn own_cpu() -> Result<f64> {
    let ProcessTime { own, reaped, .. } = spent(std::process::id())?;
    Ok(own + reaped)
}

fn all_processes() -> Result<BTreeMap<u32, ProcessTime>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let name = entry.context("reading /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse().ok()) else { continue };
        // One that is gone by now has been added to its parent's.
        if let Ok(spent) = spent(pid) {
            found.insert(pid, spent);
        }
    }
    Ok(found)
}

fn spent(pid: u32) -> Result<ProcessTime> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The name of the program may hold anything: what follows its closing bracket counts.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |i: usize| -> Result<f64> {
        fields.get(i).and_then(|f| f.parse().ok()).with_context(|| format!("{path}: {text:?}"))
    };
    Ok(ProcessTime {
        parent: number(1)? as u32,
        own: (number(11)? + number(12)?) / TICKS,
        reaped: (number(13)? + number(14)?) / TICKS,
    })
}

/// What the machine is, for a page of figures.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    /// In bytes.
    pub memory: u64,
    pub kernel: String,
}

pub fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default().to_string();
        line.split_once(':').map(|(_, v)| v.trim().to_string()).unwrap_or_default()
    };
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor: value(&read("/proc/cpuinfo"), "model name"),
        memory: kib * 1024,
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn a_program_and_its_children_are_counted_apart() {
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let script = format!("sh -c '{busy}'; echo done; echo bad >&2; exit 3");
        let ran = run(Program::new(Path::new("sh"), ["-c", &script])).await.unwrap();
        assert_eq!(
            (ran.status.code(), ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(3), "done\n", "bad\n")
        );
        assert!(ran.children_cpu > 0.05 && ran.cpu < ran.children_cpu, "{} {}", ran.cpu, ran.children_cpu);
        assert!(ran.seconds >= ran.children_cpu * 0.5);
    }

    #[test]
    fn our_own_processor_time_is_seen() {
        let before = own_cpu().unwrap();
        let started = Instant::now();
        // Others' work must not end it: only our own does.
        while own_cpu().unwrap() < before + 0.05 {
            assert!(started.elapsed().as_secs() < 30, "no processor time is seen");
        }
        assert!(cpu_of(&[std::process::id()]).unwrap() >= before + 0.05);
        assert!(cpu_of(&[u32::MAX]).is_err());
    }
}
