//! The archive of a backup holds what the source counts: a dump that lacks rows, or a table, is none.

use crate::support::{Shop, workspace};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use xtask::commands::migrate;
use xtask::effects::dump::Tools;
use xtask::effects::terminal::{Terminal, Verbosity};
use xtask::model::Database;
use xtask::run::ctx::{Ctx, Options};
use xtask::run::dir::RunDir;
use xtask::servers::native;
use xtask::source::Handling;
use xtask::tables::TABLES;

/// PostgreSQL's programs, with these lines before the archive is dumped.
fn programs(dir: &Path, before: &str) -> Tools {
    let own = native::postgres_bindir().unwrap();
    for program in ["pg_restore", "pg_dumpall", "psql"] {
        std::os::unix::fs::symlink(own.join(program), dir.join(program)).unwrap();
    }
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--format=custom*)\n{before}\n;; esac\nexec {} \"$@\"\n",
        own.join("pg_dump").display()
    );
    let pg_dump = dir.join("pg_dump");
    fs::write(&pg_dump, script).unwrap();
    fs::set_permissions(&pg_dump, fs::Permissions::from_mode(0o755)).unwrap();
    Tools { bindir: dir.to_path_buf() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_lacks_rows_ends_the_run() {
    let shop = Shop::open(0).await;
    let dir = tempfile::tempdir().unwrap();
    let (none, fewer) = (dir.path().join("none"), dir.path().join("fewer"));
    fs::create_dir(&none).unwrap();
    fs::create_dir(&fewer).unwrap();
    let psql = native::postgres_bindir().unwrap().join("psql");
    // Of another snapshot than the run's, in which a row less is left.
    let delete = format!(
        "{} -q -c 'DELETE FROM payments WHERE id = 1' ecommerce_db\n\
         for a in \"$@\"; do shift; case $a in --snapshot=*) ;; *) set -- \"$@\" \"$a\" ;; esac; done",
        psql.display()
    );
    let rows = shop.source().await.row("SELECT count(*) FROM payments").await.unwrap();
    let rows: i64 = sqlx::Row::get(&rows, 0);
    for (programs, wanted) in [
        (
            programs(&none, "set -- \"$@\" --exclude-table-data=payments"),
            "none of public.payments".to_string(),
        ),
        (
            programs(&fewer, &delete),
            format!("{} of public.payments, of which the source counts {rows}", rows - 1),
        ),
    ] {
        let options = Options {
            terminal: Terminal::new(Verbosity::Quiet, true),
            tools: programs,
            workspace: workspace(),
            jobs: 2,
            max_diffs: 10,
            values: xtask::findings::Values::Shown,
        };
        let run = RunDir::create(shop.runs.path()).unwrap();
        let ctx = Arc::new(Ctx::new(shop.settings.clone(), TABLES, run, options));
        let error = migrate::run(&ctx, &Handling::default()).await.unwrap_err();
        let said = format!("{error:#}");
        assert_eq!(
            said,
            format!("full_backup.dump does not hold the rows of the snapshot: {wanted}"),
            "and nothing else is missing"
        );
        assert!(ctx.run.load_manifest().unwrap().backup.is_none(), "{said}");
        let mut order = shop.target(Database::Order).await;
        let there = order.row(&xtask::sql::exists("public", "orders")).await.unwrap();
        assert!(!sqlx::Row::get::<bool, _>(&there, 0), "a target was written: {said}");
        assert!(shop.documents("users").await.is_empty(), "{said}");
    }
    // It was the programs.
    let report = migrate::run(&shop.ctx(), &Handling::default()).await.unwrap();
    assert_eq!(report.proven, Some(true));
}
