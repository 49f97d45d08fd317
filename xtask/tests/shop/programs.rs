//! PostgreSQL's programs on the machine of the person: staging and production need the client's alone, and
//! every command asks for the same ones. The machine's own are hidden in a mount namespace.

use crate::places::Places;
use crate::support::{Said, Shop, assert_refused};
use crate::tool::{everything, unshared};
use std::path::Path;
use xtask::servers::native::postgres_bindir;

const CLIENT: [&str; 4] = ["pg_dump", "pg_restore", "pg_dumpall", "psql"];

/// The tool where the machine has no PostgreSQL programs but those in `bin`, which is all of its PATH.
fn with_programs_in(bin: &Path, places: &Places, arguments: &[&str]) -> Said {
    let wanted = places.command_with("", "", arguments);
    let versions = postgres_bindir().unwrap();
    let versions = versions.ancestors().nth(2).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let script = "mount --bind \"$EMPTY\" \"$VERSIONS\" && PATH=\"$BIN\" && exec \"$@\"";
    let mut command = unshared();
    command.args(["sh", "-c", script, "sh"]).arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("EMPTY", empty.path())
        .env("VERSIONS", versions)
        .env("BIN", bin)
        .env("DOCKER_HOST", "unix:///nowhere");
    command.output().unwrap().into()
}

#[tokio::test]
async fn the_clients_programs_are_enough_and_each_is_needed() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    let bin = tempfile::tempdir().unwrap();
    let before = everything(&shop).await;
    let install = "apt-get install --yes postgresql-client";
    for verb in ["migrate", "backup", "export"] {
        let said = with_programs_in(bin.path(), &places, &[verb]);
        assert_refused(
            "none",
            &said,
            &["pg_dump, pg_dumpall, pg_restore, psql", install, "Nothing has been changed"],
        );
    }
    let said = with_programs_in(bin.path(), &places, &["doctor"]).expect_code(4);
    for program in CLIENT {
        assert!(said.stdout.contains(&format!("✗ {program} ")), "{program}: {}", said.stdout);
    }
    for program in CLIENT {
        let said = with_programs_in(bin.path(), &places, &["migrate"]);
        assert_refused(program, &said, &[install]);
        std::fs::copy(postgres_bindir().unwrap().join(program), bin.path().join(program)).unwrap();
    }
    assert_eq!(shop.directories(), 0, "no run");
    assert!(everything(&shop).await == before, "something has changed");
    with_programs_in(bin.path(), &places, &["doctor"]).expect_code(0);
    with_programs_in(bin.path(), &places, &["plan"]).expect_code(0);
    with_programs_in(bin.path(), &places, &["migrate"]).expect_code(0);
    with_programs_in(bin.path(), &places, &["verify"]).expect_code(0);
}

/// Said before a run is begun.
#[tokio::test]
async fn a_pg_dump_that_is_older_than_the_server() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    let bin = tempfile::tempdir().unwrap();
    for program in CLIENT {
        let file = bin.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\necho '{program} (PostgreSQL) 14.9'\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let before = everything(&shop).await;
    for verb in ["migrate", "backup", "export", "plan"] {
        let said = with_programs_in(bin.path(), &places, &[verb]);
        let words = ["pg_dump 14 in ", "is older than source", "apt-get install postgresql-client-15"];
        assert_refused(verb, &said, &words);
        assert!(!said.stderr.contains("--resume"), "{verb}: {}", said.stderr);
        assert_eq!(shop.directories(), 0, "{verb}: no run");
    }
    assert!(everything(&shop).await == before, "something has changed");
}
