//! A run that is interrupted or loses a server: it ends soon and says so, leaves no process, directory
//! or busy session behind, and what a killed one leaves the next start removes.

use crate::support::Shop;
use crate::tool::within;
use crate::tool::{Place, Tool};
use nix::sys::signal::Signal;
use sqlx::Row;
use std::path::Path;
use xtask::effects::wait::{self, State};
use xtask::run::dir::load_journal;
use xtask::servers::native::Connections;
use xtask::steps::Event;

/// The only stack in the place, once it is there and its stack.json is whole.
fn stack_in(place: &Place) -> Option<Connections> {
    place.stacks().iter().find_map(|dir| Connections::read(dir).ok())
}

/// Interrupts a rehearsal as soon as the moment has come: a file of its stack, or words on stderr.
fn interrupted_at(moment: &str, signal: Signal) {
    let place = Place::new();
    let mut rehearsal = place.start(&["rehearse", "--scale", "1"]);
    let come = |place: &Place| place.stacks().iter().any(|dir| dir.join(moment).exists());
    match moment.contains(' ') {
        true => rehearsal.wait_for_words(moment),
        false => rehearsal.wait_for(moment, || come(&place)),
    }
    rehearsal.signal(signal);
    let said = rehearsal.ends_within(5).expect_code(6);
    assert!(said.stderr.contains("interrupted: stopping"), "{}", said.stderr);
    assert_eq!(said.stdout, "", "{moment}");
    place.assert_empty();
}

#[test]
fn while_the_servers_start() {
    interrupted_at("initdb.log", Signal::SIGINT);
    interrupted_at("emulator.log", Signal::SIGTERM);
}

#[test]
fn while_the_monolith_is_filled() {
    interrupted_at("pgpass", Signal::SIGHUP);
}

#[test]
fn during_the_export() {
    interrupted_at("Phases 1 and 2", Signal::SIGTERM);
}

#[test]
fn during_the_import() {
    interrupted_at("Phases 3 and 4", Signal::SIGINT);
}

#[test]
fn during_the_verification() {
    interrupted_at("Phase 5", Signal::SIGINT);
}

/// Of a tool that is killed, and of one that is told twice to stop while a server does not want to.
#[test]
fn what_stays_is_removed_by_the_next_start() {
    let place = Place::new();
    let mut killed = place.start(&["rehearse", "--scale", "0"]);
    killed.wait_for_words("Phases 1 and 2");
    let mut before = stack_in(&place).unwrap();
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.ends_within(5).code, None);
    assert!(before.dir.exists(), "it cannot have cleaned up");

    for (second, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut tool = place.start(&["rehearse", "--scale", "0"]);
        tool.wait_for_words(&format!("removed the leftover {}", before.dir.display()));
        assert!(!before.dir.exists());
        assert_eq!(crate::tool::processes_naming(&before.dir.display().to_string()), Vec::<String>::new());
        tool.wait_for("its servers", || stack_in(&place).is_some_and(|s| s.postgres.len() == 4));
        before = stack_in(&place).unwrap();
        // A server that cannot be stopped for now.
        crate::tool::send(before.postgres[0].pid, Signal::SIGSTOP);
        tool.signal(Signal::SIGINT);
        tool.wait_for_words("again to stop at once");
        std::thread::sleep(crate::tool::ANOTHER_SIGNAL);
        tool.signal(second);
        let said = tool.ends_within(2);
        crate::tool::send(before.postgres[0].pid, Signal::SIGCONT);
        said.expect_code(code);
    }

    let mut last = place.start(&["stack", "up", "--scale", "0"]);
    last.wait_for_words(&format!("removed the leftover {}", before.dir.display()));
    last.signal(Signal::SIGTERM);
    last.ends_within(5).expect_code(6);
    place.assert_empty();
}

/// The commands and steps in a run's journal that have begun and not ended, and whether any ended early.
fn journal(run: &Path) -> (Vec<String>, bool) {
    let journal = load_journal(run).unwrap();
    let points = journal.commands.iter().flat_map(|command| {
        let steps = command.steps.iter().map(|step| (step.step.to_string(), &step.event));
        steps.chain([(command.whole.step.to_string(), &command.whole.event)])
    });
    let points: Vec<(String, &Event)> = points.collect();
    let open = points.iter().filter(|(_, event)| **event == Event::Start).map(|(name, _)| name.clone());
    (open.collect(), points.iter().any(|(_, event)| **event == Event::EndedEarly))
}

/// Sessions of the tool that do something on the source.
const BUSY: &str = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
                    AND application_name LIKE 'xtask%' AND application_name <> 'xtask test' AND state <> 'idle'";

#[tokio::test(flavor = "multi_thread")]
async fn no_session_goes_on_after_the_run() {
    let shop = Shop::open(0).await;
    let mut source = shop.source().await;
    // Its digest takes seconds, and never looks at the connection by itself.
    let large =
        "CREATE TABLE large AS SELECT id, repeat('x', 1000) AS text FROM generate_series(1, 600000) id";
    source.run(large).await.unwrap();
    let mut migrate = Tool::start(shop.command(&["migrate"]));
    migrate.wait_for_words("Phases 1 and 2");
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%large%' \
                  AND application_name LIKE 'xtask % digest %'";
    let mut count = async |query: &str| -> anyhow::Result<i64> { Ok(source.row(query).await?.try_get(0)?) };
    let begun = wait::for_state("the digest to begin", within(20, 1), async || {
        Ok(if count(active).await? > 0 { State::Ready(()) } else { State::NotYet("nobody digests") })
    });
    begun.await.unwrap();
    let pid = migrate.pid();
    migrate.signal(Signal::SIGINT);
    let said = tokio::task::block_in_place(|| migrate.ends_within(3)).expect_code(6);
    let idle = wait::for_state("its statements to end", within(3, 20), async || {
        let busy = count(BUSY).await?;
        Ok(if busy == 0 { State::Ready(()) } else { State::NotYet(format!("{busy} run: {}", said.stderr)) })
    });
    idle.await.unwrap();
    let dump = crate::tool::command_lines()
        .into_values()
        .find(|line| line.contains("pg_dump") && line.contains(&shop.runs.path().display().to_string()));
    assert_eq!(dump, None, "of process {pid}");
    let (open, early) = journal(shop.latest().path());
    assert_eq!((open, early), (Vec::new(), true), "every step has ended, some early");

    source.run("DROP TABLE large").await.unwrap();
    shop.xtask(&["migrate"]).expect_code(0);
}

#[tokio::test]
async fn a_target_whose_server_dies() {
    let shop = Shop::open(0).await;
    let server = Connections::read(shop.dir()).unwrap().server("order").unwrap().clone();
    let mut migrate = Tool::start(shop.command(&["migrate"]));
    migrate.wait_for_words("Phases 3 and 4");
    crate::tool::send(server.pid, Signal::SIGKILL);
    let said = migrate.ends_within(20).expect_code(1);
    assert!(said.stderr.contains("error: ") && said.stderr.contains("order"), "{}", said.stderr);
    assert!(journal(shop.latest().path()).1, "a step ended early");
    // From now on it is not there.
    let said = shop.xtask(&["import"]).expect_code(4);
    let words = [&shop.settings.order.to_string()[..], "nothing listens there"];
    assert!(words.iter().all(|word| said.stderr.contains(word)), "{}", said.stderr);
    let said = shop.xtask(&["verify"]).expect_code(1);
    assert!(words.iter().all(|word| said.stderr.contains(word)), "{}", said.stderr);
}

#[tokio::test]
async fn an_emulator_that_dies() {
    let shop = Shop::open_alone(0).await;
    let emulator = Connections::read(shop.dir()).unwrap().emulator.unwrap();
    let mut migrate = Tool::start(shop.command(&["migrate"]));
    migrate.wait_for_words("Phases 3 and 4");
    crate::tool::send(emulator.pid.unwrap(), Signal::SIGKILL);
    let said = migrate.ends_within(30).expect_code(1);
    let words = ["error: ", "the Firestore emulator at", &emulator.host_port, "check that it is running"];
    assert!(words.iter().all(|word| said.stderr.contains(word)), "{}", said.stderr);
    assert!(journal(shop.latest().path()).1, "a step ended early");
}
