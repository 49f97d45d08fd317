//! What a campaign came to.

use crate::findings::Store;
use crate::model::{Stop, grouped};
use crate::run::report::table_style;
use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const STORES: [(Store, &str); 5] = [
    (Store::Product, "product"),
    (Store::Order, "order"),
    (Store::Gateway, "gateway"),
    (Store::Firestore, "Firestore"),
    (Store::Run, "run"),
];

/// Of one kind in one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub tried: usize,
    /// With its place, and nothing else.
    pub detected: usize,
}

#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub seed: u64,
    /// Every way with every place that it can be done to.
    pub ways_and_places: usize,
    pub corruptions: usize,
    pub detected: usize,
    /// By kind and store.
    pub kinds: BTreeMap<String, BTreeMap<Store, Tally>>,
    /// Looks at what nobody has changed.
    pub undisturbed: usize,
    pub false_alarms: usize,
    /// Looks that were made by the binary as well.
    pub by_binary: usize,
    /// What was not found as it had to be, a line each, with what to type to see it again.
    pub failures: Vec<String>,
    pub columns_and_fields: usize,
    /// What has not been tried yet.
    pub left: Left,
    pub seconds: f64,
    /// Corruptions after which everything has been tried once.
    all: usize,
}

/// What there is to be tried.
#[derive(Debug, Default, Serialize)]
pub struct Left {
    /// `orders.status`, `users.email`
    pub columns_and_fields: BTreeSet<String>,
    pub kinds: BTreeSet<String>,
}

impl Summary {
    /// `all`: corruptions after which everything has been tried once.
    pub fn new(seed: u64, ways_and_places: usize, all: usize, left: Left) -> Summary {
        let columns_and_fields = left.columns_and_fields.len();
        Summary { seed, ways_and_places, all, columns_and_fields, left, ..Summary::default() }
    }

    pub fn tried(&mut self, kind: &str, store: Store, place: &str, detected: bool) {
        self.corruptions += 1;
        self.detected += usize::from(detected);
        self.left.columns_and_fields.remove(place);
        self.left.kinds.remove(kind);
        let tally = self.kinds.entry(kind.to_string()).or_default().entry(store).or_default();
        tally.tried += 1;
        tally.detected += usize::from(detected);
    }

    /// In a few words.
    pub fn state(&self) -> String {
        let Summary { corruptions, detected, undisturbed, false_alarms, .. } = self;
        format!("{detected} of {corruptions} detected, {false_alarms} false alarms in {undisturbed} looks")
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        for line in &self.failures {
            out += &format!("{line}\n");
        }
        out += &format!("{}\n", self.table());
        let Left { columns_and_fields, kinds } = &self.left;
        for (what, left) in [("columns and fields", columns_and_fields), ("kinds", kinds)] {
            if !left.is_empty() {
                let left = left.iter().cloned().collect::<Vec<_>>().join(", ");
                out += &format!("{what} that were NOT tried: {left}\n");
            }
        }
        out += &format!(
            "seed {}: {} corruptions, {} detected with their place and nothing else; {} looks at what nobody has \
             changed, {} false alarms; {} looks by the binary as well; {} of {} columns and fields, {} of {} kinds; \
             {} ways and places, {:.0} s\n",
            self.seed,
            grouped(self.corruptions as u64),
            grouped(self.detected as u64),
            self.undisturbed,
            self.false_alarms,
            self.by_binary,
            self.columns_and_fields - columns_and_fields.len(),
            self.columns_and_fields,
            self.kinds.len(),
            self.kinds.len() + kinds.len(),
            grouped(self.ways_and_places as u64),
            self.seconds
        );
        out
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(table_style());
        table.set_content_arrangement(ContentArrangement::Disabled);
        let names = STORES.iter().map(|(_, name)| *name);
        table.set_header(["tried"].into_iter().chain(names).chain(["together", "detected"]));
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut all = BTreeMap::<Store, Tally>::new();
        let mut line = |name: &str, stores: &BTreeMap<Store, Tally>| {
            let of = |store: &Store| stores.get(store).copied().unwrap_or_default();
            let cells = STORES.iter().map(|(store, _)| match of(store) {
                Tally { tried: 0, .. } => right("–".to_string()),
                Tally { tried, detected } if tried == detected => right(tried.to_string()),
                Tally { tried, detected } => right(format!("{detected} of {tried}")),
            });
            let (tried, detected) =
                stores.values().fold((0, 0), |(t, d), tally| (t + tally.tried, d + tally.detected));
            let sums = [right(tried.to_string()), right(detected.to_string())];
            table.add_row([Cell::new(name)].into_iter().chain(cells).chain(sums));
        };
        for (kind, stores) in &self.kinds {
            line(kind, stores);
            for (store, tally) in stores {
                let sum = all.entry(*store).or_default();
                sum.tried += tally.tried;
                sum.detected += tally.detected;
            }
        }
        line("all", &all);
        table
    }

    /// # Errors
    /// `Stop::Differs` where something was not detected, or falsely, or something was left out.
    pub fn judge(&self) -> Result<()> {
        if !self.failures.is_empty() {
            return Err(Stop::Differs(format!("{} failures, see above", self.failures.len())).into());
        }
        let Left { columns_and_fields, kinds } = &self.left;
        if self.corruptions >= self.all && !(columns_and_fields.is_empty() && kinds.is_empty()) {
            return Err(Stop::Differs("not everything was tried, see above".into()).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_is_green_where_all_was_detected_and_all_was_met() {
        let set = |names: [&str; 2]| names.map(String::from).into();
        let left = Left {
            columns_and_fields: set(["orders.id", "orders.status"]),
            kinds: set(["row: deleted", "value: NaN"]),
        };
        let mut summary = Summary::new(2, 9, 2, left);
        summary.tried("row: deleted", Store::Order, "orders.id", true);
        assert!(summary.judge().is_ok(), "it has hardly begun");
        summary.tried("row: deleted", Store::Order, "orders.id", false);
        assert!(summary.judge().is_err(), "orders.status was left out");
        summary.tried("value: NaN", Store::Order, "orders.status", true);
        assert!(summary.judge().is_ok());
        let text = summary.text();
        assert!(
            text.contains("1 of 2")
                && text.contains("2 of 2 kinds")
                && text.contains("3 corruptions, 2 detected"),
            "{text}"
        );
        summary.failures.push("x".into());
        assert!(summary.judge().is_err());
    }
}
