//! Ports of this machine: whether one is free, and who has it.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

/// Whether a server could listen on this port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The process that listens on this port: `pid 4711 (postgres)`. `None`: none does, or it is not for
/// us to see whose socket it is.
pub fn holder(port: u16) -> Option<String> {
    let sockets: BTreeSet<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| listeners(table, port)).collect();
    let pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = links.filter_map(|fd| fs::read_link(fd.path()).ok());
        targets.any(|target| sockets.contains(&target.display().to_string()))
    };
    let pid = pids.into_iter().find(has)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("pid {pid} ({})", name.trim()))
}

/// The sockets (`socket:[inode]`) that listen on a port, by a table of proc(5): the 2nd field is the
/// address, the 4th the state (0A: listening), the 10th the inode.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let text = fs::read_to_string(table).unwrap_or_default();
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
        listens.then(|| format!("socket:[{}]", fields.get(9).copied().unwrap_or_default()))
    };
    text.lines().filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        let named = holder(port).unwrap();
        assert!(named.starts_with(&format!("pid {} (", std::process::id())), "{named}");
        drop(listener);
        assert!(is_free(port));
        assert_eq!(holder(port), None);
    }
}
