//! `status` says what has become of a run, and goes on saying it after somebody has only looked.

use crate::support::{Said, Shop};
use serde_json::{Value, json};
use xtask::model::Database;
use xtask::run::dir::load_journal;
use xtask::steps::{CommandName, Event, StepName};

/// What `status --json` says of the newest run, less its journal.
#[track_caller]
fn state(shop: &Shop) -> Value {
    let now = shop.xtask(&["status", "--json"]).expect_code(0).json();
    let of = |name: &str| now[name].clone();
    json!({ "state": of("state"), "proven": of("proven"), "findings": of("findings"), "next": of("next") })
}

#[track_caller]
fn headline(shop: &Shop) -> String {
    let said = shop.xtask(&["status"]).expect_code(0);
    assert!(!said.stdout.contains("beginning is lost"), "{}", said.stdout);
    said.stdout.lines().next().unwrap().to_string()
}

/// Every line of the journal belongs to a command that says who it is, and has ended.
#[track_caller]
fn is_whole(shop: &Shop, after: &str) {
    let journal = load_journal(shop.latest().path()).unwrap();
    assert_eq!(journal.torn, 0, "{after}");
    for command in &journal.commands {
        assert!(command.process.is_some() && command.whole.ended.is_some(), "{after}: {command:?}");
        let open = command.steps.iter().find(|step| step.event == Event::Start);
        assert!(open.is_none(), "{after}: {open:?}");
    }
}

#[tokio::test]
async fn what_only_looks_leaves_the_state_of_a_run_as_it_was() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let (proven, first) = (state(&shop), headline(&shop));
    assert_eq!((&proven["state"], &proven["proven"]), (&json!("done"), &json!(true)));
    assert!(first.ends_with("done, and proven"), "{first}");
    let looks: &[&[&str]] = &[
        &["repair"],
        &["repair", "--json"],
        &["verify"],
        &["verify", "--json"],
        &["perf", "--run", "latest"],
        &["plan"],
        &["migrate", "--dry-run"],
        &["doctor"],
        &["config", "show"],
        &["status"],
        &["stack", "status"],
    ];
    let look_again = |state_before: &Value, first: &str| {
        for arguments in looks {
            let said = shop.xtask(arguments);
            let verb = arguments.join(" ");
            assert!(matches!(said.code, Some(0 | 3 | 4)), "{verb}: {:?} {}", said.code, said.stderr);
            assert_eq!(state(&shop), *state_before, "{verb}");
            assert_eq!(headline(&shop), first, "{verb}");
            is_whole(&shop, &verb);
        }
    };
    look_again(&proven, &first);

    // Of a run whose stores are damaged it is the same: only `verify` gives another verdict, with its proof.
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1").await.unwrap();
    shop.xtask(&["repair"]).expect_code(3);
    assert_eq!((state(&shop), headline(&shop)), (proven, first));
    shop.xtask(&["verify"]).expect_code(3);
    let (red, first) = (state(&shop), headline(&shop));
    assert!(red["state"] == "done" && first.ends_with("done, but the proof is red"), "{red} {first}");
    look_again(&red, &first);

    // A look that does not come to its end has changed nothing either.
    let file = shop.latest().file("orders.csv");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, "damaged").unwrap();
    let said = shop.xtask(&["repair"]).expect_code(3);
    assert!(said.stderr.contains("the run's files do not say any more"), "{}", said.stderr);
    assert_eq!((state(&shop), headline(&shop)), (red, first));
    std::fs::write(&file, whole).unwrap();
}

/// What changes the run says so by its own state, and belongs to a command all the same.
#[tokio::test]
async fn every_step_belongs_to_a_command() {
    let shop = Shop::open(0).await;
    let done = |arguments: &[&str]| {
        let said: Said = shop.xtask(arguments).expect_code(0);
        is_whole(&shop, &arguments.join(" "));
        said
    };
    for arguments in [&["backup"][..], &["export"], &["import"], &["migrate", "--replace"]] {
        done(arguments);
    }
    shop.target(Database::Order).await.run("DELETE FROM payments WHERE id = 1").await.unwrap();
    for arguments in [&["repair", "--apply"][..], &["replay"], &["verify"], &["cutover"], &["repair"]] {
        done(arguments);
        assert_eq!(state(&shop)["state"], "done", "{arguments:?}");
        assert!(headline(&shop).ends_with("done, and proven"), "{arguments:?}");
    }
    let journal = load_journal(shop.latest().path()).unwrap();
    let commands: Vec<CommandName> = journal.commands.iter().map(|c| c.whole.step.clone()).collect();
    let wanted = [
        CommandName::Migrate,
        CommandName::Repair,
        CommandName::Replay,
        CommandName::Verify,
        CommandName::Cutover,
        CommandName::LookForRepairs,
    ];
    assert_eq!(commands, wanted);
    let repair = &journal.commands[1];
    let steps: Vec<(&StepName, &Event)> = repair.steps.iter().map(|s| (&s.step, &s.event)).collect();
    assert_eq!(steps, [(&StepName::Repair, &Event::Done), (&StepName::Verify, &Event::Done)]);
    for part in ["rows", "documents", "content", "source-check", "target-counts"] {
        // On empty targets, which is what bench gives them.
        let said = shop.xtask(&["bench-part", part, "--json"]);
        assert!(!said.stderr.contains("part of no command"), "{part}: {}", said.stderr);
        is_whole(&shop, part);
    }
}
