//! The operations on containers: drills in scratch containers, and the old database's container out of service.

use crate::containers::{Stack, docker, engine, everything, latest};
use crate::quiet_day;
use crate::support::{Said, workspace};
use crate::tool::within;
use crate::without_old;
use crate::{assert_refused, assert_words};
use serde_json::Value;
use std::fs;
use std::path::Path;
use xtask::effects::wait::{self, State};

const AT_ONCE: &str = "[decommission]\nsoak_days = 0\nsamples = 2\ndrop_after_days = 0\n";

fn a_day_passes(run: &Path) {
    let file = run.join("decommission.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    quiet_day::has_passed(&mut record);
    fs::write(&file, record.to_string()).unwrap();
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn backups_are_drilled_in_containers_and_the_old_one_goes_out_of_service() {
    let (_engine, _one) = engine().await;
    let stack = Stack::new();
    let local = fs::read_to_string(workspace().join("xtask/environments/local.toml")).unwrap();
    let environment = stack.dir.path().join("shop.toml");
    fs::write(&environment, local.split("[decommission]").next().unwrap().to_string() + AT_ONCE).unwrap();
    let xtask = |arguments: &[&str]| -> Said {
        let place = ["--runtime", "docker", "--env", environment.to_str().unwrap()];
        stack.xtask(&[arguments, &place].concat())
    };
    xtask(&["stack", "up", "--scale", "0"]).expect_code(0);
    xtask(&["migrate"]).expect_code(0);
    let run = latest(&stack.runs());
    for verb in [&["cutover"][..], &["verify"], &["backup", "--target", "all"]] {
        xtask(verb).expect_code(0);
    }
    let before = everything();
    let said = xtask(&["restore-drill", "--scratch", "docker"]).expect_code(0);
    assert_words(&said.stdout, &["✓ RESTORED 4 of 4 backups, equal · ", "on PostgreSQL 1"]);
    assert_words(&said.stderr, &["scratch servers, as containers"]);
    assert_eq!(everything(), before, "the scratch containers are gone");

    // Closed now; it has not been empty for a day.
    let said = xtask(&["decommission", "--yes"]).expect_code(4);
    assert_words(&said.stdout, &["no session"]);
    let alone = wait::for_state("nobody to have been there", within(60, 500), async || {
        let said = xtask(&["decommission"]).expect_code(4).stdout;
        let seen = said.contains("there was session") || said.contains("came and went");
        Ok(if seen { State::NotYet(said) } else { State::Ready(()) })
    });
    alone.await.unwrap();
    a_day_passes(&run);
    let said = xtask(&["decommission", "--yes"]).expect_code(0);
    assert_words(&said.stdout, &["✓ RETIRED ecommerce_db"]);
    let record: Value =
        serde_json::from_str(&fs::read_to_string(run.join("decommission.json")).unwrap()).unwrap();
    let name = record["retired"]["name"].as_str().unwrap();

    // Somebody else's container on its volume: nothing is dropped.
    let (old, volume) = (stack.container("postgres-monolith"), stack.container("postgres-monolith-data"));
    let guest = format!("{}-guest", stack.name);
    let label = format!("com.docker.compose.project={}", stack.name);
    let mount = format!("{volume}:/x");
    docker(&["create", "--name", &guest, "--label", &label, "--volume", &mount, "postgres:15"])
        .expect_code(0);
    let drop = ["decommission", "--drop", "--confirm", name, "--remove-container"];
    assert_refused(xtask(&drop), &[&format!("the volume {volume} is in use by {guest}")]);
    docker(&["rm", "--volumes", &guest]).expect_code(0);
    docker(&["inspect", &old]).expect_code(0);

    let said = xtask(&drop).expect_code(0);
    assert_words(&said.stdout, &[&format!("✓ DROPPED {name}"), &old, &volume]);
    docker(&["inspect", &old]).expect_code(1);
    docker(&["volume", "inspect", &volume]).expect_code(1);
    docker(&["inspect", &stack.container("postgres-order")]).expect_code(0);
    // Again: its server is gone, and nothing is left to do.
    xtask(&drop).expect_code(0);

    let id = run.file_name().unwrap().to_str().unwrap();
    without_old::is_refused(xtask, &["was decommissioned", id, "dropped it at 2"]);
    let said = xtask(&["restore", "--run", "latest", "--into", "ecommerce_check"]);
    assert_refused(said, &["was decommissioned"]);
    without_old::goes_on(xtask);
    xtask(&["doctor", "--network"]).expect_code(0);
    // Stopped and started again: the old one is not made again, and nothing is filled.
    docker(&["stop", &stack.container("postgres-order")]).expect_code(0);
    assert_refused(xtask(&["verify"]), &["postgres-order do not run"]);
    xtask(&["stack", "up"]).expect_code(0);
    docker(&["inspect", &old]).expect_code(1);
    xtask(&["verify"]).expect_code(0);
    let said = xtask(&["stack", "status"]).expect_code(0);
    assert_words(&said.stdout, &["all 3", "psql -U product_admin product_database"]);
}
