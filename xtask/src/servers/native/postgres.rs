//! Four PostgreSQL servers from one `initdb`.

use crate::effects::chores;
use crate::servers::native::connections::{PostgresServer, SERVERS};
use crate::servers::native::home::{Home, private_file};
use crate::servers::native::machine;
use crate::servers::native::options::Options;
use crate::servers::native::processes::INITDB_ENDING;
use crate::servers::native::record::Record;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::future;
use std::io::Write;
use std::path::Path;

/// Enough to move a million rows; the rest stays as people know it from a plain server.
const SETTINGS: &str = "
# disposable server, started by xtask
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
max_wal_size = 4GB
wal_level = replica
timezone = 'UTC'
log_timezone = 'UTC'
jit = off
";

/// Starts the servers of [`SERVERS`] and returns when each accepts connections.
pub(super) async fn start(home: &Home, record: &Record, options: &Options) -> Result<()> {
    let bindir = machine::postgres_bindir()?;
    let [first, second, third, fourth] = SERVERS;
    initdb(home, &bindir, first, &record.password()).await?;
    configure(&home.dir().join(first), options)?;
    tokio::try_join!(copy(home, first, second), copy(home, first, third), copy(home, first, fourth))?;
    let serve = |name: &'static str| serve(home, record, &bindir, name);
    tokio::try_join!(serve(first), serve(second), serve(third), serve(fourth))?;
    Ok(())
}

async fn initdb(home: &Home, bindir: &Path, name: &str, password: &str) -> Result<()> {
    let data = home.subdirectory(name, home.account)?;
    let pwfile = home.dir().join("password");
    private_file(&pwfile)?.write_all(password.as_bytes()).context("writing the password")?;
    home.give(&pwfile, home.account)?;
    let program = home.program(&bindir.join("initdb"), &data, home.account);
    let program = program.arg("--pgdata").arg(&data).arg("--pwfile").arg(&pwfile);
    let options = ["--no-sync", "--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8"];
    let program = program.args(options).arg(format!("--locale={}", locale()));
    home.run(program, "initdb", INITDB_ENDING).await?;
    fs::remove_file(&pwfile).context("removing the password file")
}

/// `C.UTF-8` sorts like `C` and knows the case of all letters; not every libc has it.
fn locale() -> &'static str {
    let known = chores::output("locale", &["-a"])
        .is_some_and(|text| text.to_lowercase().lines().any(|line| matches!(line, "c.utf8" | "c.utf-8")));
    if known { "C.UTF-8" } else { "C" }
}

/// Written once, into the data directory that the others are copies of.
fn configure(data: &Path, options: &Options) -> Result<()> {
    let durable = if options.fsync { "on" } else { "off" };
    let mut settings = format!("{SETTINGS}max_prepared_transactions = {}\n", options.prepared_transactions);
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        settings += &format!("{name} = {durable}\n");
    }
    let file = data.join("postgresql.conf");
    (OpenOptions::new().append(true).open(&file))
        .and_then(|mut file| file.write_all(settings.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
}

/// A child copies, not we: it has the servers' account, and stopping it is like stopping the others.
async fn copy(home: &Home, from: &str, to: &str) -> Result<()> {
    let target = home.subdirectory(to, home.account)?;
    let program = home.program(Path::new("cp"), &target, home.account);
    let program = program.arg("-R").arg(home.dir().join(from).join(".")).arg(&target);
    home.run(program, &format!("copy-{to}"), Signal::SIGKILL).await
}

async fn serve(home: &Home, record: &Record, bindir: &Path, name: &str) -> Result<()> {
    let data = home.dir().join(name);
    let launch = |port: u16| {
        let program = home.program(&bindir.join("postgres"), &data, home.account);
        let program = program.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        // in every backend's title: that is how it is known as ours when its postmaster is gone
        let stack = home.dir().file_name().unwrap_or_default().display();
        let program = program.arg("-c").arg(format!("cluster_name={stack}/{name}"));
        let pid = home.spawn(program, name, Signal::SIGQUIT)?;
        let server =
            PostgresServer { name: name.to_owned(), port, pid, data: data.clone(), log: home.log(name) };
        record.postgres(server)?;
        Ok(pid)
    };
    home.serve(name, launch, |_, pid| future::ready(is_ready(&data, pid))).await
}

/// Whether postmaster.pid is this server's and its line 8 says that it accepts connections.
fn is_ready(data: &Path, pid: u32) -> bool {
    fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| {
        let mut lines = text.lines();
        lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|state| state.starts_with("ready"))
    })
}
