//! A table more: its schema, its folder, its entry and the fixtures are all that has to be written (DESIGN §7).
//! A copy of the workspace gets one, is built, and rehearses.

use crate::support::workspace;
use crate::tool::Place;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

fn append(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The files that the workspace is made of, as they are now.
fn copy_of_the_workspace(root: &Path) {
    let from = workspace();
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&from);
    let list = list.output().unwrap();
    let names = String::from_utf8(list.stdout).unwrap();
    for name in names.split_terminator('\0').filter(|name| from.join(name).is_file()) {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::copy(from.join(name), root.join(name)).unwrap();
    }
}

/// What others wrote is not built again, and this binary stays what it is: links, in a directory beside it.
fn what_is_built() -> tempfile::TempDir {
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().unwrap();
    let target = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
    fs::create_dir_all(target.path().join("debug")).unwrap();
    for part in ["deps", "build", ".fingerprint"] {
        let debug = target.path().join("debug");
        let linked = Command::new("cp").arg("-al").arg(built.join(part)).arg(debug).status();
        assert!(linked.unwrap().success(), "{part}");
    }
    target
}

fn add_coupons(root: &Path) {
    append(
        root,
        "sql/schema/gateway.sql",
        "\nCREATE TABLE IF NOT EXISTS coupons (\n    id serial PRIMARY KEY,\n    code varchar(20) NOT NULL,\n    \
         user_uid varchar(255),\n    created_at timestamptz NOT NULL\n);\n\
         CREATE INDEX IF NOT EXISTS idx_coupons_user_uid ON coupons (user_uid);\n",
    );
    append(
        root,
        "sql/tables/coupons/2-export.sql",
        "-- coupons → gateway_database.\nSELECT c.id, c.code, u.uid AS user_uid, c.created_at,\n       \
         CASE WHEN c.id IN (:undecodable_coupons) THEN 'quarantined:text_undecodable'\n            \
         WHEN c.code IS NULL OR c.created_at IS NULL THEN 'quarantined:value_missing'\n            \
         WHEN c.id IN (:unfit_coupons) THEN 'quarantined:value_does_not_fit'\n            \
         ELSE 'migrated' END AS outcome,\n       NULL::text AS note\nFROM coupons c\n\
         LEFT JOIN (\n\\ir ../users/known.sql\n) u ON u.id = c.user_id\n",
    );
    append(
        root,
        "sql/tables/coupons/2-audit.sql",
        "-- The rules for coupons, written a second time.\nSELECT id,\n       \
         CASE WHEN num_nulls(code, created_at) > 0 OR id IN (:undecodable_coupons) OR id IN (:unfit_coupons)\n            \
         THEN 'quarantined' ELSE 'migrated' END AS kind\nFROM coupons\n",
    );
    append(
        root,
        "sql/tables/coupons/4-rollback.sql",
        "-- coupons ← gateway_database.\nSELECT r.id, owner.user_id, r.user_uid, r.code, r.created_at\nFROM :rows r\n\
         LEFT JOIN pg_temp.owners owner ON owner.uid = r.user_uid::text COLLATE \"C\" AND owner.bearers = 1\n",
    );
    let tables = root.join("xtask/src/tables.rs");
    let text = fs::read_to_string(&tables).unwrap();
    let entry = "    table!(\"coupons\" from \"coupons\" in Home::Postgres(Database::Gateway),\n        \
                 references: &[BY_USER],\n    ),\n];\n\n/// user_id →";
    assert_eq!(text.matches("];\n\n/// user_id →").count(), 1);
    fs::write(&tables, text.replace("];\n\n/// user_id →", entry)).unwrap();
    append(
        root,
        "fixtures/monolith/schema.sql",
        "\nCREATE TABLE coupons (\n    id serial PRIMARY KEY,\n    code varchar(40),\n    user_id integer,\n    \
         created_at timestamptz NOT NULL\n);\n",
    );
    append(
        root,
        "fixtures/monolith/seed.sql",
        "\nINSERT INTO coupons (id, code, user_id, created_at) VALUES (1, 'SPRING', 1, now()), (2, NULL, 1, now()),\n    \
         (3, repeat('x', 21), NULL, now()), (7, 'AUTUMN', NULL, now());\nSELECT setval('coupons_id_seq', 9);\n",
    );
}

#[test]
fn a_table_more_is_schema_folder_entry_and_fixtures() {
    let place = Place::new();
    let root = place.path().join("workspace");
    copy_of_the_workspace(&root);
    add_coupons(&root);
    let (runs, target) = (place.path().join("runs"), what_is_built());
    let mut rehearse = Command::new(env!("CARGO"));
    rehearse
        .args(["run", "--offline", "--quiet", "--package", "xtask", "--"])
        .args(["rehearse", "--scale", "0", "--json", "--quiet", "--backup-dir"])
        .arg(&runs)
        .current_dir(&root)
        .env("CARGO_TARGET_DIR", target.path())
        .env("TMPDIR", place.path())
        .env("XTASK_RUNTIME", "native");
    let said = rehearse.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{stdout}\n{stderr}");
    let document: serde_json::Value = serde_json::from_str(&stdout).expect(&stdout);
    let report = &document["result"];
    let coupons =
        report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "coupons").unwrap();
    assert_eq!((&report["proven"], &coupons["source_rows"]), (&true.into(), &4.into()), "{coupons:#}");
    let sums = serde_json::json!({ "migrated": 2, "excluded": 0, "quarantined": 2 });
    assert_eq!(coupons["sums"], sums);
    place.assert_empty();
}
