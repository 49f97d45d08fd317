//! What `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)` says of a query that has run. Pure.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    pub ms: f64,
    /// Shared buffers: found in memory, or read.
    pub buffers: u64,
    pub rows: u64,
    /// In the plan's order.
    pub scans: Vec<Scan>,
}

/// How a table is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scan {
    pub table: String,
    pub by: Access,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// From end to end.
    Sequential,
    /// By these indexes.
    Index(Vec<String>),
    /// In another of PostgreSQL's ways, by its name.
    Other(String),
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Access::Sequential => write!(f, "{} sequentially", self.table),
            Access::Index(indexes) => write!(f, "{} by {}", self.table, indexes.join(" and ")),
            Access::Other(how) => write!(f, "{} by {how}", self.table),
        }
    }
}

#[derive(Deserialize)]
struct Explained {
    #[serde(rename = "Plan")]
    plan: Node,
    #[serde(rename = "Execution Time")]
    ms: f64,
}

/// Buffers are those of the node and of all below it.
#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Node Type")]
    kind: String,
    #[serde(rename = "Relation Name")]
    table: Option<String>,
    #[serde(rename = "Index Name")]
    index: Option<String>,
    #[serde(rename = "Shared Hit Blocks")]
    hit: u64,
    #[serde(rename = "Shared Read Blocks")]
    read: u64,
    /// With decimals from PostgreSQL 18 on.
    #[serde(rename = "Actual Rows")]
    rows: f64,
    #[serde(rename = "Plans", default)]
    below: Vec<Node>,
}

impl Execution {
    pub fn read(json: &str) -> Result<Execution> {
        let plans: Vec<Explained> = serde_json::from_str(json).context("reading a plan")?;
        let Explained { plan, ms } = plans.into_iter().next().context("the server explained nothing")?;
        let mut scans = Vec::new();
        plan.scans(&mut scans);
        Ok(Execution { ms, buffers: plan.hit + plan.read, rows: plan.rows.round() as u64, scans })
    }
}

impl Node {
    fn scans(&self, found: &mut Vec<Scan>) {
        if let Some(table) = &self.table {
            let by = match (&*self.kind, &self.index) {
                ("Seq Scan", _) => Access::Sequential,
                (_, Some(index)) => Access::Index(vec![index.clone()]),
                ("Bitmap Heap Scan", None) => Access::Index(self.indexes_below()),
                (kind, None) => Access::Other(kind.to_string()),
            };
            found.push(Scan { table: table.clone(), by });
        }
        self.below.iter().for_each(|node| node.scans(found));
    }

    /// A bitmap is made of one index or of several.
    fn indexes_below(&self) -> Vec<String> {
        let of = |node: &Node| node.index.iter().cloned().chain(node.indexes_below()).collect::<Vec<_>>();
        self.below.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read() {
        let json = r#"[{"Plan": {"Node Type": "Nested Loop", "Actual Rows": 2.00, "Shared Hit Blocks": 9,
            "Shared Read Blocks": 3, "Plans": [
              {"Node Type": "Bitmap Heap Scan", "Relation Name": "orders", "Actual Rows": 1, "Shared Hit Blocks": 5,
               "Shared Read Blocks": 0, "Plans": [{"Node Type": "BitmapAnd", "Actual Rows": 0, "Shared Hit Blocks": 4,
                 "Shared Read Blocks": 0, "Plans": [
                 {"Node Type": "Bitmap Index Scan", "Index Name": "a", "Actual Rows": 1, "Shared Hit Blocks": 2,
                  "Shared Read Blocks": 0},
                 {"Node Type": "Bitmap Index Scan", "Index Name": "b", "Actual Rows": 1, "Shared Hit Blocks": 2,
                  "Shared Read Blocks": 0}]}]},
              {"Node Type": "Index Only Scan", "Relation Name": "users", "Index Name": "c", "Actual Rows": 1,
               "Shared Hit Blocks": 1, "Shared Read Blocks": 0},
              {"Node Type": "Seq Scan", "Relation Name": "logs", "Actual Rows": 1, "Shared Hit Blocks": 1,
               "Shared Read Blocks": 3}]},
            "Planning Time": 0.1, "Execution Time": 0.25}]"#;
        let read = Execution::read(json).unwrap();
        assert_eq!((read.ms, read.buffers, read.rows), (0.25, 12, 2));
        let words: Vec<String> = read.scans.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["orders by a and b", "users by c", "logs sequentially"]);
        let without_buffers = r#"[{"Plan": {"Node Type": "Result", "Actual Rows": 1}, "Execution Time": 1}]"#;
        assert!(Execution::read(without_buffers).is_err());
    }
}
