//! Mutants of the ledger: a row lost, doubled or misclassified on its way ends the run with exit code
//! 3, named, before any target holds a row. Mistakes in the SELECT are made in a variant of `TABLES`,
//! those in the files by altering what an export has written. What is done to a target afterwards is
//! the subject of damage.rs.

use crate::support::Shop;
use std::sync::Arc;
use xtask::commands::migrate;
use xtask::model::{Database, Stop};
use xtask::run::ctx::Ctx;
use xtask::run::manifest::Manifest;
use xtask::source::Handling;
use xtask::tables::{TABLES, Table};

/// The tables with one SELECT changed: `from` stands in it once.
fn mutant(table: &str, from: &str, to: &str) -> &'static [Table] {
    let mut tables = TABLES.to_vec();
    let one = tables.iter_mut().find(|t| t.name == table).unwrap();
    assert_eq!(one.export.text.matches(from).count(), 1, "{table}: {from}");
    one.export.text = one.export.text.replace(from, to).leak();
    tables.leak()
}

async fn rows_of(shop: &Shop, database: Database, table: &str) -> i64 {
    let mut connection = shop.target(database).await;
    let there = connection.row(&xtask::sql::exists("public", table)).await.unwrap();
    if !sqlx::Row::get::<bool, _>(&there, 0) {
        return 0;
    }
    sqlx::Row::get(&connection.row(&xtask::sql::count("public", table)).await.unwrap(), 0)
}

/// Rows and documents that are in any target.
async fn arrived(shop: &Shop) -> i64 {
    let firestore = shop.firestore().await;
    let mut sum = 0;
    for table in TABLES {
        sum += match table.database() {
            Some(database) => rows_of(shop, database, table.name).await,
            None => firestore.count(table.name).await.unwrap().try_into().unwrap(),
        };
    }
    sum
}

#[tokio::test]
async fn a_mistake_in_the_select_ends_the_run_before_a_target_is_touched() {
    let mut shop = Shop::open(0).await;
    // Each with what the message has to say of it.
    let end = "FROM payments p\nLEFT JOIN o ON o.id = p.order_id";
    let cases: &[(&str, &str, &str, &str, &[&str])] = &[
        (
            "a row is dropped",
            "payments",
            end,
            "FROM payments p\nLEFT JOIN o ON o.id = p.order_id WHERE p.id <> 2",
            &["payments id 2: 1× in the table, 0× in the SELECT"],
        ),
        (
            "an INNER JOIN (fault 17)",
            "orders",
            "LEFT JOIN (\n\\ir ../users/known.sql\n) u",
            "JOIN (\n\\ir ../users/known.sql\n) u",
            &["orders id 930: 1× in the table, 0× in the SELECT"],
        ),
        (
            "a row is doubled",
            "payments",
            end,
            "FROM payments p\nLEFT JOIN o ON o.id = p.order_id \
             JOIN generate_series(1, 2) g ON g = 1 OR p.id = 3",
            &["payments id 3: 1× in the table, 2× in the SELECT"],
        ),
        (
            "one is dropped, one is doubled",
            "payments",
            end,
            "FROM payments p\nLEFT JOIN o ON o.id = p.order_id \
             JOIN generate_series(1, 2) g ON (g = 1 AND p.id <> 2) OR p.id = 3",
            &[
                "but not the table's: some are lost, some doubled",
                "payments id 2: 1× in the table, 0× in the SELECT",
                "payments id 3: 1× in the table, 2× in the SELECT",
            ],
        ),
        (
            "an id stands for another",
            "payments",
            "    p.id,\n",
            "    CASE p.id WHEN 2 THEN 3 ELSE p.id END AS id,\n",
            &["payments id 2: 1× in the table, 0× in the SELECT"],
        ),
        (
            "migrated → excluded",
            "product_reviews",
            "WHEN r.deleted_at IS NOT NULL\n",
            "WHEN r.deleted_at IS NOT NULL OR r.id = 2\n",
            &["product_reviews id 2: excluded:review_deleted by the SELECT, migrated by the audit"],
        ),
        (
            "excluded → migrated",
            "product_reviews",
            "WHEN r.deleted_at IS NOT NULL\n",
            "WHEN r.deleted_at IS NOT NULL AND r.id <> 111\n",
            &["product_reviews id 111: migrated by the SELECT, excluded by the audit"],
        ),
        (
            "one excluded that should go, one gone that should not",
            "product_reviews",
            "WHEN r.deleted_at IS NOT NULL\n",
            "WHEN (r.deleted_at IS NOT NULL AND r.id <> 111) OR r.id = 2\n",
            &[
                "by the SELECT and by the audit, but not the same ones",
                "product_reviews id 111: migrated by the SELECT, excluded by the audit",
                "product_reviews id 2: excluded:review_deleted by the SELECT, migrated by the audit",
            ],
        ),
        (
            "quarantined → excluded",
            "product_reviews",
            "'quarantined:user_missing'",
            "'excluded:review_deleted'",
            &["product_reviews id 930: excluded:review_deleted by the SELECT, quarantined by the audit"],
        ),
        (
            "quarantined → migrated",
            "user_sessions",
            "WHEN u.outcome <> 'migrated'\n",
            "WHEN u.outcome <> 'migrated' AND s.id <> 922\n",
            &["user_sessions id 922: migrated by the SELECT, quarantined by the audit"],
        ),
        (
            "an outcome that nobody knows",
            "users",
            "'excluded:user_deleted'",
            "'excluded:just_because'",
            &["5 rows have an outcome that nobody knows: \"excluded:just_because\""],
        ),
        (
            "no outcome",
            "orders",
            "ELSE 'migrated'",
            "ELSE CASE WHEN o.id <> 3 THEN 'migrated' END",
            &[
                "1 rows have an outcome that nobody knows: \"NULL\"",
                "orders id 3: nothing by the SELECT, migrated by the audit",
            ],
        ),
    ];
    for (case, table, from, to, wanted) in cases {
        shop.tables = mutant(table, from, to);
        let ctx: Arc<Ctx> = shop.ctx();
        let Err(error) = migrate::run(&ctx, &Handling::default()).await else {
            panic!("{case}: nobody noticed")
        };
        let message = format!("{error:#}");
        let stop = error.chain().find_map(|e| e.downcast_ref::<Stop>());
        assert_eq!(stop.map(Stop::exit_code), Some(3), "{case}: {message}");
        for wanted in *wanted {
            assert!(message.contains(wanted), "{case}: {wanted:?} is not in {message}");
        }
        let manifest: Manifest = ctx.run.load_manifest().unwrap();
        assert!(manifest.export.is_none(), "{case}: the export counts as complete");
        // Nothing can be imported from it either.
        if *case == "no outcome" {
            shop.xtask(&["import"]).expect_code(4);
        }
        assert_eq!(arrived(&shop).await, 0, "{case}");
    }
    // It was the mutants, and none of them has left anything behind.
    shop.tables = TABLES;
    let report = migrate::run(&shop.ctx(), &Handling::default()).await.unwrap();
    assert_eq!(report.proven, Some(true));
}

/// The lines of a file, its header first. The first rows have no line breaks inside of values.
fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_string).collect()
}

#[tokio::test]
async fn a_mistake_in_a_file_ends_the_import_before_a_target_holds_a_row() {
    let shop = Shop::open(0).await;
    shop.xtask(&["export", "--quiet"]).expect_code(0);
    let run = shop.latest();
    let manifest = shop.manifest();
    type Way = (&'static str, fn(&mut Vec<String>));
    let ways: [Way; 4] = [
        ("a line less", |lines| drop(lines.remove(2))),
        ("a line twice", |lines| lines.insert(2, lines[2].clone())),
        ("a line twice, one less", |lines| lines[3] = lines[2].clone()),
        // The last character is part of a value or of the names of NULL columns.
        ("one character", |lines| {
            let digit = lines[1].rfind(|c: char| c.is_ascii_digit()).unwrap();
            let other = if &lines[1][digit..=digit] == "5" { "6" } else { "5" };
            lines[1].replace_range(digit..=digit, other);
        }),
    ];
    // One of each database, and one of Firestore's.
    for file in ["api_logs.csv", "payments.csv", "categories.csv", "user_sessions.csv"] {
        let whole = std::fs::read(run.file(file)).unwrap();
        for (way, change) in ways {
            let mut lines = lines(&whole);
            change(&mut lines);
            let text = lines.join("\n") + "\n";
            std::fs::write(run.file(file), &text).unwrap();
            let said = shop.xtask(&["import"]).expect_code(3);
            let named = format!("{file} is not the file that was written");
            assert!(said.stderr.contains(&named), "{file}, {way}: {}", said.stderr);
            assert_eq!(arrived(&shop).await, 0, "{file}, {way}");
        }
        std::fs::write(run.file(file), &whole).unwrap();
    }

    // The manifest agrees with the altered files: the digests taken in the source do not. One of each
    // database at once, because a database whose files are whole is published.
    let files = ["api_logs.csv", "payments.csv", "categories.csv"];
    let whole = files.map(|file| std::fs::read(run.file(file)).unwrap());
    for (way, change) in ways {
        let mut altered = manifest.clone();
        for (file, whole) in files.iter().zip(&whole) {
            let mut lines = lines(whole);
            let before = lines.len() as u64;
            change(&mut lines);
            std::fs::write(run.file(file), lines.join("\n") + "\n").unwrap();
            let info = altered.export.as_mut().unwrap().files.get_mut(*file).unwrap();
            let rows = info.rows.map(|rows| rows + lines.len() as u64 - before);
            *info = datapath::files::FileInfo { rows, ..run.measure(file).unwrap() };
        }
        run.save_manifest(&altered).unwrap();
        let said = shop.xtask(&["import"]).expect_code(3);
        assert!(said.stderr.contains(" was not published"), "{way}: {}", said.stderr);
        for (table, database) in TABLES.iter().filter_map(|t| Some((t.name, t.database()?))) {
            assert_eq!(rows_of(&shop, database, table).await, 0, "{way}: {table}");
        }
    }
    for (file, whole) in files.iter().zip(&whole) {
        std::fs::write(run.file(file), whole).unwrap();
    }
    run.save_manifest(&manifest).unwrap();

    // Whole files again: the same run goes on where it was refused.
    shop.xtask(&["import"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
}
