//! The guide's four lists ("Migration Checklist") and the lines of "1. Update Documentation" below the third, word by
//! word. Data only.

use clap::ValueEnum;
use serde::Serialize;

/// One of the four lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum List {
    #[value(alias = "pre-migration")]
    Before,
    #[value(alias = "during-migration")]
    During,
    #[value(alias = "post-migration")]
    After,
    #[value(alias = "one-week-after-migration")]
    Week,
}

impl List {
    pub const ALL: [List; 4] = [List::Before, List::During, List::After, List::Week];

    /// As the guide calls it.
    pub fn title(self) -> &'static str {
        match self {
            List::Before => "Pre-Migration",
            List::During => "During Migration",
            List::After => "Post-Migration",
            List::Week => "One Week After Migration",
        }
    }
}

/// A line of a list.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// What `checklist done` calls it.
    pub id: &'static str,
    pub list: List,
    /// As the guide has it.
    pub text: &'static str,
    pub shown_by: ShownBy,
}

/// What shows that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownBy {
    /// The run's backup is there.
    Backup,
    /// … and its files are what was read back.
    WholeBackup,
    RecordCounts,
    /// Firestore answers, now.
    Firestore,
    /// … to these credentials.
    Credentials,
    Freeze,
    Export,
    Documents,
    Product,
    Order,
    Gateway,
    Sequences,
    /// The proof from after the cut-over: its tables, its checks.
    Counts,
    Integrity,
    Smoke,
    /// `perf`, after the cut-over.
    Performance,
    StoreBackups,
    /// All lines of the guide's "1. Update Documentation".
    Documentation,
    /// `perf`, after the time that the old database is kept.
    PerformanceLater,
    Archive,
    /// Optional: the old database is dropped.
    Dropped,
    /// Only people know; the command is the one to look with before, if there is one.
    People(Option<&'static str>),
}

impl Item {
    pub fn is_of_people(&self) -> bool {
        matches!(self.shown_by, ShownBy::People(_))
    }

    /// It is done, too, where it is left open.
    pub fn is_optional(&self) -> bool {
        self.shown_by == ShownBy::Dropped
    }

    /// One of the lines of "1. Update Documentation".
    pub fn is_of_documentation(&self) -> bool {
        self.id.starts_with("docs-")
    }

    /// A person's word on it is about one run, and says nothing of the next.
    pub fn is_of_a_run(&self) -> bool {
        matches!(self.list, List::After | List::Week)
    }
}

const fn item(id: &'static str, list: List, text: &'static str, shown_by: ShownBy) -> Item {
    Item { id, list, text, shown_by }
}

/// In the guide's order.
pub const ITEMS: &[Item] = &[
    item("backup", List::Before, "Full database backup completed", ShownBy::Backup),
    item("backup-whole", List::Before, "Backup integrity verified", ShownBy::WholeBackup),
    item("record-counts", List::Before, "Record counts documented", ShownBy::RecordCounts),
    item("firebase", List::Before, "Firebase project created and configured", ShownBy::Firestore),
    item("credentials", List::Before, "Service account credentials obtained", ShownBy::Credentials),
    item("stakeholders", List::Before, "All stakeholders notified", ShownBy::People(None)),
    item("window", List::Before, "Maintenance window scheduled", ShownBy::People(Some("plan"))),
    item("stopped", List::During, "Services stopped or in maintenance mode", ShownBy::Freeze),
    item("exported", List::During, "Data exported from monolithic database", ShownBy::Export),
    item("users", List::During, "User data imported to Firebase/Firestore", ShownBy::Documents),
    item("product", List::During, "Product data imported to product_database", ShownBy::Product),
    item("order", List::During, "Order data imported to order_database", ShownBy::Order),
    item("gateway", List::During, "Gateway data imported to gateway_database", ShownBy::Gateway),
    item("sequences", List::During, "Sequences reset correctly", ShownBy::Sequences),
    item("counts", List::After, "Record counts verified", ShownBy::Counts),
    item("integrity", List::After, "Data integrity checks passed", ShownBy::Integrity),
    item("connectivity", List::After, "Service connectivity tested", ShownBy::Smoke),
    item("integration", List::After, "Integration tests passed", ShownBy::Smoke),
    item("performance", List::After, "Performance tests completed", ShownBy::Performance),
    item("monitoring", List::After, "Monitoring configured", ShownBy::People(Some("monitor --once"))),
    item("backups", List::After, "Backup strategy implemented", ShownBy::StoreBackups),
    item("documentation", List::After, "Documentation updated", ShownBy::Documentation),
    item(
        "docs-readme",
        List::After,
        "Update README.md with new database architecture",
        ShownBy::People(None),
    ),
    item("docs-api", List::After, "Update API documentation with new endpoints", ShownBy::People(None)),
    item("docs-deployment", List::After, "Update deployment guides", ShownBy::People(None)),
    item("docs-variables", List::After, "Document new environment variables", ShownBy::People(None)),
    item("team", List::After, "Team trained on new architecture", ShownBy::People(None)),
    item("no-issues", List::Week, "No critical issues reported", ShownBy::People(Some("monitor --once"))),
    item("performance-later", List::Week, "Performance metrics acceptable", ShownBy::PerformanceLater),
    item("archived", List::Week, "Old database archived", ShownBy::Archive),
    item("dropped", List::Week, "Old infrastructure decommissioned (optional)", ShownBy::Dropped),
];

/// The item of this name.
pub fn of(id: &str) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_item_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = ITEMS.iter().map(|item| item.id).collect();
        assert_eq!((names.len(), ITEMS.len()), (31, 31));
        assert_eq!(ITEMS.iter().filter(|item| item.is_of_documentation()).count(), 4);
        assert_eq!(ITEMS.iter().filter(|item| item.is_optional()).count(), 1);
    }
}
