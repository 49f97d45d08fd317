//! All inputs from the field that can stand together in one monolith: migrated, and every row of its ledger is
//! what stands in `fixtures/cases/ledger.txt`. With XTASK_TEST_UPDATE=1 that file is written again.

use crate::field::{put, quarantined};
use crate::support::{Shop, workspace};
use std::collections::BTreeMap;
use std::fmt::Write;
use xtask::tables::{TABLES, Table};

const LEDGER: &str = "fixtures/cases/ledger.txt";

const MORE: &str = "
    ALTER TABLE system_logs DROP COLUMN level;
    UPDATE users SET firebase_uid = NULL WHERE firebase_uid = '';
    ALTER TABLE system_logs ALTER COLUMN ip_address TYPE varchar(45) USING host(ip_address);
    UPDATE system_logs SET ip_address = '203.0.113.7, 10.0.0.1' WHERE id = 1;
    UPDATE system_logs SET ip_address = 'unknown' WHERE id = 2;
    ALTER TABLE payments ALTER COLUMN gateway_response TYPE json;
    UPDATE payments SET gateway_response = '{\"a\": \"\\u0000\"}' WHERE id = 1;
    UPDATE payments SET gateway_response = '{\"a\": 1, \"a\": 2}' WHERE id = 2;
    ALTER TABLE orders ALTER COLUMN total_amount TYPE numeric(12,4);
    UPDATE orders SET total_amount = 12.5050 WHERE id = 3;
    ALTER TABLE orders ADD COLUMN outcome text DEFAULT 'theirs', ADD COLUMN quarantine_reason text DEFAULT 'theirs';
    ALTER TABLE orders ALTER COLUMN payment_status TYPE char(30);
    INSERT INTO users (id, firebase_uid, email, created_at) VALUES (7000, '', 'nobody@x', now());
    INSERT INTO orders (id, user_id, total_amount, created_at) VALUES (7000, 7000, 1, now());
    CREATE TABLE wide (id int);
    CREATE ROLE \"the owner\"; ALTER TABLE wide OWNER TO \"the owner\"";

/// Ids in the order of their numbers, neighbours as a span.
fn spans(ids: &[i64]) -> String {
    let mut out = String::new();
    let mut rest = ids;
    while let Some((first, _)) = rest.split_first() {
        let length = rest.iter().zip(*first..).take_while(|(id, expected)| **id == *expected).count();
        let last = rest[length - 1];
        let span = if length > 1 { format!("{first}-{last}") } else { first.to_string() };
        write!(out, "{}{span}", if out.is_empty() { "" } else { "," }).unwrap();
        rest = &rest[length..];
    }
    out
}

fn migrated(shop: &Shop, table: &Table) -> Vec<i64> {
    let mut reader = csv::Reader::from_path(shop.latest().file(&table.file())).unwrap();
    reader.records().map(|record| record.unwrap()[0].parse().unwrap()).collect()
}

/// A line for each outcome of a table, and one for each row in quarantine: its reason, and what decided.
async fn ledger(shop: &Shop) -> String {
    let mut out = String::new();
    for table in TABLES {
        let mut ids: BTreeMap<i64, &str> = BTreeMap::new();
        let all = format!("SELECT id::bigint FROM {}", table.source);
        for row in shop.source().await.rows(&all).await.unwrap() {
            ids.insert(sqlx::Row::get(&row, 0), "excluded");
        }
        let quarantine = quarantined(shop, table.name);
        migrated(shop, table)
            .into_iter()
            .for_each(|id| assert_eq!(ids.insert(id, "migrated"), Some("excluded")));
        for id in quarantine.keys() {
            assert_eq!(
                ids.insert(id.parse().unwrap(), "quarantined"),
                Some("excluded"),
                "{} {id}",
                table.name
            );
        }
        for outcome in ["migrated", "excluded"] {
            let of: Vec<i64> = ids.iter().filter(|(_, o)| **o == outcome).map(|(id, _)| *id).collect();
            writeln!(out, "{} {outcome} {}", table.name, spans(&of)).unwrap();
        }
        for (id, _) in ids.iter().filter(|(_, outcome)| **outcome == "quarantined") {
            let row = &quarantine[&id.to_string()];
            let reason = row.get("xtask_quarantine_reason").unwrap_or(&row["quarantine_reason"]);
            writeln!(out, "{} {id} {reason} {}", table.name, row["quarantine_detail"]).unwrap();
        }
    }
    out.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

#[tokio::test]
async fn every_row_of_a_hostile_monolith_is_where_the_ledger_says() {
    let shop = Shop::open(0).await;
    for case in [
        include_str!("../../../fixtures/cases/01-table-of-an-extension.sql"),
        include_str!("../../../fixtures/cases/03-tag-too-long-for-the-index.sql"),
        include_str!("../../../fixtures/cases/04-sequence-that-nobody-owns.sql"),
        include_str!("../../../fixtures/cases/05-more-than-100-text-columns.sql"),
        include_str!("../../../fixtures/cases/06c-email-that-ignores-case.sql"),
        include_str!("../../../fixtures/cases/08-wide-table-of-numbers.sql"),
        include_str!("../../../fixtures/cases/34-sequence-beyond-integer.sql"),
        MORE,
        // The last: with it, statements of the cases themselves are ambiguous.
        include_str!("../../../fixtures/cases/29-implicit-casts-to-text.sql"),
    ] {
        put(&shop, case).await;
    }
    let accept = ["--accept", "column-extra", "--accept", "column-type"];
    shop.xtask(&[&["plan"], &accept[..]].concat()).expect_code(0);
    shop.xtask(&[&["migrate"], &accept[..]].concat()).expect_code(0);
    let found = ledger(&shop).await;
    let path = workspace().join(LEDGER);
    if std::env::var_os("XTASK_TEST_UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
    shop.xtask(&["verify"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
}
