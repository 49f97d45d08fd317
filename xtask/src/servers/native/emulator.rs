//! Google's Firestore emulator: our own, or one that runs already.

use crate::servers::native::connections::EmulatorServer;
use crate::servers::native::home::Home;
use crate::servers::native::machine::{self, reachable};
use crate::servers::native::options::EmulatorChoice;
use crate::servers::native::record::Record;
use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CLASS: &str = "com.google.cloud.datastore.emulator.firestore.CloudFirestore";
const NAME: &str = "emulator";
/// For one request to a server that may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns when the emulator answers.
pub(super) async fn start(home: &Home, record: &Record, choice: &EmulatorChoice) -> Result<()> {
    match choice {
        EmulatorChoice::None => Ok(()),
        EmulatorChoice::Start => start_own(home, record).await,
        EmulatorChoice::Running(host_port) => {
            if !answers(host_port.clone()).await {
                bail!("no Firestore emulator answers at {host_port}");
            }
            record.emulator(EmulatorServer { host_port: host_port.clone(), pid: None, log: None })
        }
    }
}

async fn start_own(home: &Home, record: &Record) -> Result<()> {
    let (java, jar) = machine::emulator_jar()?;
    // java does not mind root: better so than not at all, where both are in root's home
    let account =
        home.account.filter(|_| reachable(&java, 5, home.account) && reachable(&jar, 4, home.account));
    let own = home.subdirectory(NAME, account)?;
    let launch = |port: u16| {
        let java = home.program(&java, &own, account);
        let java = java.args(["-Xmx2g", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Duser.language=en"]);
        let java = java.arg(format!("-Djava.io.tmpdir={}", own.display())).arg("-cp").arg(&jar).arg(CLASS);
        let java = java.arg("--host=127.0.0.1").arg(format!("--port={port}"));
        let pid = home.spawn(java, NAME, Signal::SIGKILL)?;
        record.emulator(EmulatorServer {
            host_port: format!("127.0.0.1:{port}"),
            pid: Some(pid),
            log: Some(home.log(NAME)),
        })?;
        Ok(pid)
    };
    let ready = |port: u16, _| {
        let host_port = format!("127.0.0.1:{port}");
        // it prints its address once it has it: until then another program may be answering there
        let has_port = home.log_text(NAME).contains(&host_port);
        async move { has_port && answers(host_port).await }
    };
    home.serve(NAME, launch, ready).await
}

/// Whether `GET /` is answered with 200.
pub async fn answers(host_port: String) -> bool {
    let request = format!("GET / HTTP/1.1\r\nHost: {host_port}\r\nConnection: close\r\n\r\n");
    let asked = async {
        let mut stream = TcpStream::connect(&host_port).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        std::io::Result::Ok(&status == b"HTTP/1.1 200")
    };
    matches!(timeout(PATIENCE, asked).await, Ok(Ok(true)))
}
