//! A TCP proxy that does to its connections what a network does.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What happens to all connections, those that are open and those that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpFault {
    None,
    /// Open ones are closed, new ones as soon as they are made.
    Drop,
    /// Nothing arrives any more, in either direction, and no side is told.
    Stall,
    /// So many more bytes pass, over all connections, then they are closed in the middle.
    CutAfter(u64),
}

/// The proxy; dropped, it ends with all of its connections.
#[derive(Debug)]
pub struct TcpFaults {
    port: u16,
    fault: watch::Sender<TcpFault>,
    left: Arc<AtomicU64>,
    accepting: AbortHandle,
}

impl TcpFaults {
    /// Listens on a free port of 127.0.0.1 and passes everything to `to` (`host:port`).
    pub async fn start(to: String) -> Result<TcpFaults> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening")?;
        let port = listener.local_addr().context("listening")?.port();
        let (fault, _) = watch::channel(TcpFault::None);
        let left = Arc::new(AtomicU64::new(0));
        let (faults, bytes) = (fault.subscribe(), left.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, to.clone(), faults.clone(), bytes.clone()));
                // Those that have ended.
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(TcpFaults { port, fault, left, accepting: accepting.abort_handle() })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the bytes of a [`TcpFault::CutAfter`] are used up.
    pub fn spent(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// From now on.
    pub fn set(&self, fault: TcpFault) {
        if let TcpFault::CutAfter(bytes) = fault {
            self.left.store(bytes, Ordering::SeqCst);
        }
        self.fault.send_replace(fault);
    }
}

impl Drop for TcpFaults {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ends when either side ends, or when a fault ends it.
async fn connection(
    client: TcpStream,
    to: String,
    mut faults: watch::Receiver<TcpFault>,
    left: Arc<AtomicU64>,
) {
    if *faults.borrow() == TcpFault::Drop {
        return;
    }
    let Ok(server) = TcpStream::connect(&to).await else { return };
    // As PostgreSQL and gRPC set it: a small message does not wait for the next.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let forth = pass(from_client, to_server, faults.clone(), left.clone());
    let back = pass(from_server, to_client, faults.clone(), left);
    tokio::select! {
        () = forth => {}
        () = back => {}
        _ = faults.wait_for(|fault| *fault == TcpFault::Drop) => {}
    }
}

/// One direction, until its end.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<TcpFault>,
    left: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if faults.wait_for(|fault| *fault != TcpFault::Stall).await.is_err() {
            return;
        }
        let fault = *faults.borrow();
        let allowed = match fault {
            TcpFault::CutAfter(_) => {
                let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    Some(left.saturating_sub(read as u64))
                });
                before.unwrap_or_default().min(read as u64) as usize
            }
            _ => read,
        };
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < read {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A server that sends back what it gets.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_does_what_a_network_does() {
        let proxy = TcpFaults::start(echo().await).await.unwrap();
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream, b"through").await.unwrap(), b"through");

        proxy.set(TcpFault::Stall);
        let held = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream, b"held")).await;
        assert!(held.is_err(), "it arrived");
        proxy.set(TcpFault::None);
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"held");

        proxy.set(TcpFault::CutAfter(3));
        stream.write_all(b"cut here").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 8, "it arrived whole");

        proxy.set(TcpFault::None);
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream, b"again").await.unwrap(), b"again");
        proxy.set(TcpFault::Drop);
        assert!(ask(&mut stream, b"dropped").await.is_err());
        let mut refused = connect().await.unwrap();
        assert!(ask(&mut refused, b"dropped").await.is_err());
    }
}
