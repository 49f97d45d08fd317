//! What a restore of a database did, for people and programs.

use crate::model::grouped;
use crate::shown::escaped;
use crate::source::restore::{Replaced, Restored};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Done {
    #[serde(flatten)]
    pub restored: Restored,
    pub replaced: Option<Replaced>,
}

impl Done {
    /// The verdict first.
    pub fn text(&self) -> String {
        let Restored { run, database, tables, rows, seconds, .. } = &self.restored;
        let again = if self.restored.before { ", restored by an earlier call" } else { "" };
        let mut out = format!(
            "✓ PROVEN {}: {tables} tables, {} rows, as run {run} backed them up{again} · {seconds:.1} s\n",
            escaped(database),
            grouped(*rows)
        );
        if let Some(Replaced { database, put_aside, sessions_ended, frozen }) = &self.replaced {
            out += &format!("  it is {} now", escaped(database));
            out += &put_aside
                .iter()
                .map(|aside| format!(", the old one is kept as {}", escaped(aside)))
                .collect::<String>();
            out += &match sessions_ended {
                0 => "\n".to_string(),
                ended => format!("; {ended} sessions were ended\n"),
            };
            if *frozen {
                out += "  it is frozen as the old one was: new sessions are read-only\n";
            }
        }
        out += &self.restored.properties_from.line().map(|line| format!("  {line}\n")).unwrap_or_default();
        for line in crate::run::manifest::left_out_lines(&self.restored.left_out) {
            out += &format!("  not in the dump, and not proven: {line}\n");
        }
        if self.restored.large_objects > 0 {
            let n = grouped(self.restored.large_objects);
            out +=
                &format!("  {n} large objects are restored, and not proven: no digest was taken of them\n");
        }
        if let Some(why) = &self.restored.definitions_not_compared {
            out += &format!("  definitions are not compared: {why}\n");
        }
        for sequence in &self.restored.sequences_raised {
            out += &format!("  raised to where the backup saw it: {sequence}\n");
        }
        out
    }
}
