//! Firestore: reachable, writable, its collections empty.

use crate::effects::terminal::say;
use crate::health::{Line, Lines};
use crate::run::ctx::Ctx;
use crate::stores::readiness;
use anyhow::{Context, Result, ensure};
use datapath::document::{Document, Value};
use datapath::firestore::{Address, FailureKind, Firestore, Guarded, HOST, Version, failure_kind};
use std::sync::Arc;
use std::time::Duration;

/// The collection of the probe document, for it alone.
pub const PROBE: &str = "xtask_doctor";

/// How long the removal of a probe may take when everything else has been given up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn look(ctx: &Arc<Ctx>) -> Vec<Line> {
    let mut lines = Lines::of("firestore");
    let address = Address::from(&ctx.settings.firestore);
    let firestore = match Firestore::connect(&address).await {
        Ok(firestore) => firestore,
        Err(error) => {
            lines.failed("reachable", &error, fix(&address, &error));
            lines.not_looked_at(&["writable", "empty"], "it cannot be reached");
            return lines.lines;
        }
    };
    lines.met("reachable", address.to_string());
    match probe(&firestore, &address, ctx.run.id()).await {
        Ok(name) => lines.met("writable", format!("document {name} written, read back and removed")),
        Err(error) => lines.failed("writable", &error, fix(&address, &error)),
    }
    match readiness::collections(ctx, None).await {
        Err(error) => lines.failed("empty", &error, fix(&address, &error)),
        Ok(found) if found.is_empty() => lines.met("empty", "no document in the collections of the run"),
        Ok(found) => {
            let fix = "remove the documents, or name another project or database in the environment file, or, \
                        where they are an earlier run's: cargo xtask migrate --replace";
            found.into_iter().for_each(|found| lines.not_met("empty", found, fix));
        }
    }
    lines.lines
}

/// Removes its document however the look ends, also when it is interrupted.
struct Probe {
    address: Address,
    run: String,
    id: String,
    there: bool,
}

async fn probe(firestore: &Firestore, address: &Address, run: &str) -> Result<String> {
    let id = format!("{run}_{}", std::process::id());
    let name = format!("{PROBE}/{id}");
    let document = Document { id: id.clone(), fields: vec![("run", Value::Text(run.to_string()))] };
    let mut probe = Probe { address: address.clone(), run: run.to_string(), id: id.clone(), there: true };
    firestore.change(PROBE, vec![(Guarded::Set(document), Version::ABSENT)]).await?;
    let found = firestore.read(PROBE, std::slice::from_ref(&id)).await?;
    let fields = found.into_iter().next().and_then(|(_, fields)| fields);
    let fields = fields.with_context(|| format!("document {name} was written, but is not there"))?;
    ensure!(
        fields.get("run") == Some(&Value::Text(run.to_string())),
        "document {name} reads back as {fields:?}"
    );
    remove(firestore, run, &id).await?;
    probe.there = false;
    Ok(name)
}

/// Removes the document, if it is still the probe's.
async fn remove(firestore: &Firestore, run: &str, id: &str) -> Result<()> {
    let ids = [id.to_string()];
    let found = firestore.read_versions(PROBE, &ids).await?.remove(id);
    let Some((Some(fields), version)) = found else { return Ok(()) };
    let ours = fields.get("run") == Some(&Value::Text(run.to_string()));
    ensure!(ours, "document {PROBE}/{id} is not the one that was written: it is left alone");
    firestore.change(PROBE, vec![(Guarded::Delete(id.to_string()), version)]).await?;
    // A removal that was reported as failed may have been done: what counts is that it is gone.
    let left = firestore.read(PROBE, &ids).await?.into_iter().any(|(_, fields)| fields.is_some());
    ensure!(!left, "another client has written to document {PROBE}/{id}: it is left alone");
    Ok(())
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.there {
            return;
        }
        let (address, run, id) = (self.address.clone(), self.run.clone(), self.id.clone());
        // On a thread with a runtime of its own: this one may be about to end.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let removal = async { remove(&Firestore::connect(&address).await?, &run, &id).await };
                tokio::time::timeout(PATIENCE, removal).await.context("no answer in time")?
            })
        });
        let left = match removal.join() {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "the thread that removes it failed".to_string(),
        };
        say(&format!("warning: document {PROBE}/{} may be left behind: {left}", self.id));
    }
}

pub(super) fn start_emulator(host: &str) -> String {
    format!("gcloud emulators firestore start --host-port={host}   # or: cargo xtask stack up")
}

pub(super) fn fix(address: &Address, error: &anyhow::Error) -> String {
    match (&address.emulator, failure_kind(error)) {
        (Some(host), _) => start_emulator(host),
        (None, FailureKind::Permission) => format!(
            "gcloud projects add-iam-policy-binding {} --role=roles/datastore.user --member=serviceAccount:NAME",
            address.project
        ),
        (None, FailureKind::Connection) => {
            format!("curl -sS -o /dev/null https://{HOST}   # says what is wrong from here")
        }
        (None, FailureKind::Credentials) => "gcloud auth application-default login".to_string(),
        (None, FailureKind::Other) => "as it says there; then look again: cargo xtask doctor".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a network or a role is at fault is not the same command.
    #[test]
    fn what_fixes_it_follows_what_is_wrong() {
        let real = Address { project: "p".into(), database: "d".into(), emulator: None, credentials: None };
        let other = fix(&real, &anyhow::anyhow!("something else"));
        assert!(other.contains("cargo xtask doctor") && !other.contains("iam"), "{other}");
        let emulator = Address { emulator: Some("h:1".into()), ..real };
        let down = fix(&emulator, &anyhow::anyhow!("nobody answers"));
        assert!(down.starts_with("gcloud emulators firestore start --host-port=h:1"), "{down}");
    }
}
