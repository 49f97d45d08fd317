//! Environments as a person sets them up: servers started by hand with TLS and roles of few rights; what
//! is taken away is said before anything was changed; and what a strict policy asks for.

use crate::by_hand::{ByHand, ROLES, openssl};
use crate::support::{Said, Shop};
use crate::tool::{Place, everything, with_small_files};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::effects::postgres;
use xtask::settings::Tls;

#[track_caller]
fn assert_refused(case: &str, said: &Said, words: &[&str]) {
    crate::support::assert_refused(case, said, words);
    assert_silent(said);
}

/// No password is said.
#[track_caller]
fn assert_silent(said: &Said) {
    for (_, _, password) in ROLES {
        assert!(!said.stdout.contains(password) && !said.stderr.contains(password), "{password}");
    }
}

#[tokio::test]
async fn servers_started_by_hand() {
    let hand = ByHand::open().await;
    let before = everything(&hand.shop).await;
    what_is_taken_away_is_said(&hand).await;
    assert!(everything(&hand.shop).await == before, "something has changed");
    assert_eq!(hand.shop.directories(), 0, "a refused run leaves no directory");
    modes_of_tls(&hand).await;

    nothing_at_home_is_used(&hand);

    let shown = hand.run(&["config", "show"]).expect_code(0);
    assert!(shown.stdout.contains("(secret, set)") && !shown.stdout.contains("NOT SET"), "{}", shown.stdout);
    assert!(shown.stdout.contains("service file "), "{}", shown.stdout);
    let doctor = hand.run(&["doctor"]).expect_code(0);
    assert!(doctor.stdout.contains("1 warnings, 0 not met"), "{}", doctor.stdout);
    let plan = hand.run(&["plan"]).expect_code(0);
    assert!(plan.stderr.contains("next: cargo xtask migrate --env"), "{}", plan.stderr);
    let migrated = hand.run(&["migrate", "--json"]).expect_code(0);
    assert_eq!(migrated.json()["proven"], true, "{}", migrated.stdout);
    let verified = hand.run(&["verify"]).expect_code(0);
    assert!(verified.stdout.contains("source ="), "{}", verified.stdout);
    let status = hand.run(&["status"]).expect_code(0);
    assert!(status.stdout.contains("proven"), "{}", status.stdout);
    [&shown, &doctor, &plan, &migrated, &verified, &status].into_iter().for_each(assert_silent);
    assert_eq!(
        hand.shop.latest().load_manifest().unwrap().environment,
        hand.path("staging.toml").display().to_string()
    );
}

/// One thing at a time, each with a message of its own.
async fn what_is_taken_away_is_said(hand: &ByHand) {
    let good = hand.text();
    let shown = |name: &str| hand.path(name).display().to_string();
    let run = |text: &str| -> Said { hand.command(&["migrate"], text).output().unwrap().into() };
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };

    // TLS. The first server in the file is the source.
    let who = format!("source (migration@localhost:{}/ecommerce_db): ", hand.shop.settings.source.port);
    for root in ["stranger.crt", "namesake.crt"] {
        let words = [&who[..], "TLS: ", "was not issued by the authority in", &shown(root)];
        assert_refused("a wrong root", &run(&with("ca.crt", root)), &words);
    }
    let words = ["source (migration@127.0.0.1", "TLS: ", "is for another host than 127.0.0.1", "localhost"];
    assert_refused("a wrong host name", &run(&with("localhost", "127.0.0.1")), &words);
    let words = ["source.tls takes its root certificate from", &shown("none.crt"), "cannot be read"];
    assert_refused("no root", &run(&with("ca.crt", "none.crt")), &words);
    let plain = with("tls = \"verify-full\"\ntls_root = \"ca.crt\"", "tls = \"disable\"");
    assert_refused("no TLS", &run(&plain), &[&who, "lets nobody in like this", "tls = \"disable\""]);
    hand.offer_tls("gateway", false).await;
    let words = ["gateway (gateway_user@localhost", "TLS: the server does not offer it"];
    assert_refused("a server without TLS", &run(&good), &words);
    hand.offer_tls("gateway", true).await;

    // Secrets that are not there.
    let without =
        |name: &str| -> Said { hand.command(&["migrate"], &good).env_remove(name).output().unwrap().into() };
    let words = ["the password of product", "$PRODUCT_PASSWORD, which is not set", "export PRODUCT_PASSWORD"];
    assert_refused("no variable", &without("PRODUCT_PASSWORD"), &words);
    assert_refused(
        "no PGPASSFILE",
        &without("PGPASSFILE"),
        &["the password of order", "$PGPASSFILE is not set"],
    );
    for (file, words) in [
        ("source.password", "the password of source"),
        ("pgpass", "the password of order"),
        ("pg_service.conf", "gateway: service file"),
    ] {
        fs::remove_file(hand.path(file)).unwrap();
        assert_refused(file, &run(&good), &[words, &shown(file), "No such file"]);
        hand.write_secrets();
        fs::set_permissions(hand.path(file), Permissions::from_mode(0o644)).unwrap();
        assert_refused(
            file,
            &run(&good),
            &[words, "others may use", "(mode 0644)", "chmod 600", &shown(file)],
        );
        hand.write_secrets();
    }
    hand.write("pgpass", "localhost:1:order_database:order_user:x\n");
    let port = hand.shop.settings.order.port;
    let fits = format!("no line fits localhost:{port}:order_database:order_user");
    assert_refused("no line", &run(&good), &["the password of order", &fits]);
    hand.write_secrets();

    // Secrets that are wrong.
    let said: Said =
        hand.command(&["migrate"], &good).env("PRODUCT_PASSWORD", "wrong").output().unwrap().into();
    let refused = "the server refuses this user or password: check ";
    assert_refused(
        "a wrong variable",
        &said,
        &["product (product_user@", &format!("{refused}$PRODUCT_PASSWORD")],
    );
    hand.write("source.password", "wrong\n");
    assert_refused("a wrong file", &run(&good), &[&who, &format!("{refused}{}", shown("source.password"))]);
    hand.write("pgpass", "*:*:*:*:wrong\n");
    assert_refused(
        "a wrong line",
        &run(&good),
        &["order (order_user@", &format!("{refused}{}:1", shown("pgpass"))],
    );
    hand.write_secrets();
}

/// A root certificate at home is for psql's user, not for us.
fn nothing_at_home_is_used(hand: &ByHand) {
    let home = hand.path("home");
    fs::create_dir_all(home.join(".postgresql")).unwrap();
    fs::copy(hand.path("stranger.crt"), home.join(".postgresql/root.crt")).unwrap();
    let text = hand.text().replacen("tls = \"verify-full\"\ntls_root = \"ca.crt\"", "tls = \"require\"", 1);
    let said: Said = hand.command(&["backup"], &text).env("HOME", home).output().unwrap().into();
    said.expect_code(0);
}

/// Each mode lets in what it should, and nothing else.
async fn modes_of_tls(hand: &ByHand) {
    let mut server = hand.shop.settings.order.clone();
    server.password = "canary order".to_string().into();
    let root = |name: &str| hand.path(name);
    let verify = |root: PathBuf, full| Tls::Verify { root, full };
    for (host, tls, lets_in) in [
        ("127.0.0.1", Tls::Disable, false),
        ("127.0.0.1", Tls::Require, true),
        ("127.0.0.1", verify(root("ca.crt"), false), true),
        ("127.0.0.1", verify(root("ca.crt"), true), false),
        ("localhost", verify(root("ca.crt"), true), true),
        ("localhost", verify(root("stranger.crt"), false), false),
        ("localhost", verify(root("namesake.crt"), true), false),
    ] {
        (server.host, server.tls) = (host.to_string(), tls.clone());
        let connected = postgres::connect(&server, "test").await;
        assert_eq!(connected.is_ok(), lets_in, "{host} {tls:?} {:?}", connected.err());
        if let Ok(mut connection) = postgres::connect(&server, "test").await {
            let row =
                connection.row("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await.unwrap();
            assert!(sqlx::Row::get::<bool, _>(&row, 0), "{tls:?}");
        }
    }
}

/// The shop's addresses as an environment file with this policy.
fn strict(shop: &Shop, dir: &Path, name: &str, policy: &str) -> String {
    let s = &shop.settings;
    let server = |server: &xtask::settings::Server| {
        format!(
            "host = \"127.0.0.1\"\nport = {}\ndatabase = \"{}\"\nuser = \"{}\"\npassword = {{ env = \"P\" }}\n\
             tls = \"disable\"\n",
            server.port, server.database, server.user
        )
    };
    let text = format!(
        "[source]\n{}[targets.product]\n{}[targets.order]\n{}[targets.gateway]\n{}\
         [firestore]\nproject = \"strict\"\nemulator = true\nemulator_host = \"{}\"\n[policy]\n{policy}\n",
        server(&s.source),
        server(&s.product),
        server(&s.order),
        server(&s.gateway),
        s.firestore.emulator.as_deref().unwrap()
    );
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A tool in a place of its own: it knows of no rehearsal but its own.
fn own_tool() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tool = dir.path().join("xtask");
    fs::hard_link(env!("CARGO_BIN_EXE_xtask"), &tool).unwrap();
    (dir, tool)
}

#[tokio::test]
async fn a_strict_policy() {
    let shop = Shop::open(0).await;
    let before = everything(&shop).await;
    let (dir, tool) = own_tool();
    let place = Place::new();
    let env = strict(&shop, dir.path(), "strict.toml", "confirm = true\nrehearsal_max_age = \"7d\"");
    let command = |arguments: &[&str], env: &str| -> Command {
        let mut command = Command::new(&tool);
        command.args(arguments).args(["--env", env]);
        if arguments[0] != "rehearse" {
            command.arg("--backup-dir").arg(shop.runs.path());
        }
        let password = secrecy::ExposeSecret::expose_secret(&shop.settings.source.password);
        command.env("P", password).env("TMPDIR", place.path()).env_remove("FIRESTORE_EMULATOR_HOST");
        command
    };
    let run = |arguments: &[&str], env: &str| -> Said { command(arguments, env).output().unwrap().into() };
    let migrate = |more: &[&str]| run(&[&["migrate"], more].concat(), &env);

    let source = shop.settings.source.to_string();
    let words =
        ["asks for confirmation", &source[..], "rerun the command with --confirm strict/ecommerce_db"];
    assert_refused("no confirmation", &migrate(&[]), &words);
    assert_refused(
        "a wrong one",
        &migrate(&["--confirm", "shop"]),
        &["--confirm shop: that is not environment", "--confirm strict/ecommerce_db", &source],
    );
    // The database alone does not tell this environment from others.
    for half in ["ecommerce_db", "production/ecommerce_db"] {
        let said = migrate(&["--confirm", half]);
        assert_refused(half, &said, &[&format!("--confirm {half}: "), "--confirm strict/ecommerce_db"]);
    }
    let confirmed = ["--confirm", "strict/ecommerce_db"];
    let noted = dir.path().join("rehearsals.jsonl");
    let words =
        ["wants a green rehearsal", "not older than 7d", "no rehearsal is noted", noted.to_str().unwrap()];
    let said = migrate(&confirmed);
    assert_refused("no rehearsal", &said, &words);
    assert_refused("no rehearsal", &said, &["cargo xtask rehearse", "--accept no-rehearsal"]);
    let nonsense = migrate(&["--accept", "rehearsal"]).expect_code(2);
    assert!(nonsense.stderr.contains("a similar value exists: 'no-rehearsal'"), "{}", nonsense.stderr);
    assert_eq!(shop.directories(), 0, "a refused run leaves no directory");

    // Accepted, which is recorded, also where the run ends early.
    let accepted = ["migrate", "--confirm", "strict/ecommerce_db", "--accept", "no-rehearsal"];
    Said::from(with_small_files(&command(&accepted, &env)).output().unwrap()).expect_code(1);
    assert_eq!(shop.manifest().accepted, ["no-rehearsal"]);

    // What writes to no target asks for nothing; what imports does.
    let export = run(&["export"], &env).expect_code(0);
    assert!(export.stderr.contains(&format!("--env {env}")), "{}", export.stderr);
    let import = run(&["import", "--confirm", "strict/ecommerce_db"], &env);
    assert_refused("import", &import, &["wants a green rehearsal", "--accept no-rehearsal"]);
    for arguments in [
        &["import"][..],
        &["freeze"],
        &["backup", "--freeze"],
        &["export", "--freeze"],
        &["cutover"],
        &["replay"],
        &["repair", "--apply"],
    ] {
        let words = ["asks for confirmation", "--confirm strict/ecommerce_db"];
        assert_refused(&arguments.join(" "), &run(arguments, &env), &words);
    }
    // Nor does what only looks.
    let said = run(&["doctor"], &env).expect_code(4);
    assert!(said.stdout.contains("not older than 7d: no rehearsal is noted"), "{}", said.stdout);
    assert!(said.stderr.contains("1 prerequisites are not met"), "{}", said.stderr);
    let said = run(&["plan", "--accept", "no-rehearsal"], &env).expect_code(0);
    assert!(!said.stdout.contains("wants a green rehearsal"), "{}", said.stdout);
    let said = run(&["plan"], &env).expect_code(4);
    assert!(said.stdout.contains("wants a green rehearsal"), "{}", said.stdout);
    assert!(everything(&shop).await == before, "something has changed");

    rehearsals(&run, dir.path(), &shop, &confirmed, &env);
    place.assert_empty();
}

/// A red rehearsal does not count, a green one does while it is young and of the same SQL.
fn rehearsals(run: &dyn Fn(&[&str], &str) -> Said, dir: &Path, shop: &Shop, confirmed: &[&str], env: &str) {
    let noted = dir.join("rehearsals.jsonl");
    let last = || -> serde_json::Value {
        let text = fs::read_to_string(&noted).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    };
    let migrate = || run(&[&["migrate"], confirmed].concat(), env);

    let red = strict(shop, dir, "red.toml", "max_quarantine = 0");
    run(&["rehearse", "--scale", "0"], &red).expect_code(5);
    assert_eq!(last()["green"], false);
    assert_refused("a red one", &migrate(), &["wants a green rehearsal", "was not green"]);

    run(&["rehearse", "--scale", "0"], "local").expect_code(0);
    let green = last();
    assert_eq!((&green["green"], &green["scale"]), (&true.into(), &0.into()), "{green}");
    assert_eq!(green["tool"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(fs::metadata(&noted).unwrap().permissions().mode() & 0o777, 0o600);
    for (key, value, words) in [
        ("/at", "2020-01-01T00:00:00Z", " old"),
        ("/tool/sql", "00", "was of other SQL"),
        ("/tool/version", "0.0.1", "was of version 0.0.1"),
    ] {
        let mut changed = green.clone();
        *changed.pointer_mut(key).unwrap() = value.into();
        fs::write(&noted, format!("{changed}\n")).unwrap();
        assert_refused(key, &migrate(), &["wants a green rehearsal", words]);
    }
    fs::write(&noted, format!("{green}\n")).unwrap();
    let said = run(&["doctor"], env).expect_code(0);
    let last = format!(
        "the last fitting one was at {}, of scale 0",
        xtask::shown::utc(green["at"].as_str().unwrap())
    );
    assert!(said.stdout.contains(&last), "{last}: {}", said.stdout);
    migrate().expect_code(0);
    assert_eq!(shop.manifest().accepted, Vec::<String>::new());
}

/// What `config show` says of one key: value and origin.
fn shown(said: &Said, key: &str) -> (serde_json::Value, serde_json::Value) {
    let json = said.json();
    let entry = json["values"].as_array().unwrap().iter().find(|e| e["key"] == key).expect(key);
    (entry["value"].clone(), entry["origin"].clone())
}

#[tokio::test]
async fn settings_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let tool = |arguments: &[&str]| {
        let mut command = crate::support::binary();
        command.args(["config", "show"]).args(arguments).env_clear().current_dir(dir.path());
        command
    };
    let run = |arguments: &[&str]| -> Said { tool(arguments).output().unwrap().into() };

    // No secret is there, and no server.
    let said = run(&["--env", "production"]).expect_code(0);
    for words in
        ["policy.rehearsal_max_age", "production.toml:", "(secret, NOT SET)", "$PGPASSFILE is not set"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert!(said.stderr.contains("next: fix that, then cargo xtask config show --env production"));

    // Precedence, and secrets that are there: by their origin.
    let staging =
        fs::read_to_string(crate::support::workspace().join("xtask/environments/staging.toml")).unwrap();
    fs::write(dir.path().join("mine.toml"), staging).unwrap();
    let json = ["--env", "./mine.toml", "--json"];
    let file =
        |line: u64| serde_json::json!({"kind": "file", "path": dir.path().join("mine.toml"), "line": line});
    assert_eq!(shown(&run(&json), "firestore.rate"), ("2000".into(), file(52)));
    let mut command = tool(&json);
    command.env("XTASK_FIRESTORE_RATE", "1000").env("STAGING_SOURCE_PASSWORD", "canary-staging");
    let said = Said::from(command.output().unwrap()).expect_code(0);
    let origin = serde_json::json!({"kind": "variable", "name": "XTASK_FIRESTORE_RATE"});
    assert_eq!(shown(&said, "firestore.rate"), ("1000".into(), origin));
    let origin = serde_json::json!({"kind": "variable", "name": "STAGING_SOURCE_PASSWORD"});
    assert_eq!(shown(&said, "source.password"), (serde_json::Value::Null, origin));
    assert!(!said.stdout.contains("canary-staging"), "{}", said.stdout);
    command.args(["--firestore-rate", "500"]);
    let said = Said::from(command.output().unwrap()).expect_code(0);
    let origin = serde_json::json!({"kind": "flag", "name": "--firestore-rate"});
    assert_eq!(shown(&said, "firestore.rate"), ("500".into(), origin));
    assert_eq!(shown(&said, "firestore.database").1, file(51));
    assert_eq!(shown(&said, "policy.confirm"), ("false".into(), serde_json::json!({"kind": "default"})));

    let said = run(&["--env", "./yours"]);
    assert_refused("no file", &said, &["there is no environment", "/yours.toml does not exist"]);
    let said = run(&["--env", "prod"]);
    assert_refused("a short name", &said, &["did you mean production?"]);
}

#[tokio::test]
async fn local_servers_are_shown_in_the_place_of_the_file() {
    let shop = Shop::open(0).await;
    let said = shop.xtask(&["config", "show", "--json"]).expect_code(0);
    let (port, origin) = shown(&said, "targets.order.port");
    assert_eq!(port, shop.settings.order.port.to_string());
    assert_eq!(origin, serde_json::json!({"kind": "stack", "directory": shop.dir()}));
    assert_eq!(said.json()["problems"], serde_json::json!([]));
    let secret = secrecy::ExposeSecret::expose_secret(&shop.settings.source.password);
    assert!(!said.stdout.contains(secret));
}

/// As `openssl req -x509` makes it, and as libpq takes it: refused, with the commands that make what is not.
#[tokio::test]
async fn a_certificate_that_is_its_own_root() {
    let hand = ByHand::open().await;
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let files = ["-keyout", "server.key", "-out", "server.crt"];
    openssl(hand.dir.path(), &[&["req", "-x509"][..], &key, &name, &files].concat());
    hand.require_tls("source").await;
    // The first server in the file is the source.
    let with_root =
        |root: &str| hand.text().replacen("tls_root = \"ca.crt\"", &format!("tls_root = \"{root}\""), 1);
    let own = with_root("server.crt");
    let before = everything(&hand.shop).await;
    let said: Said = hand.command(&["migrate"], &own).output().unwrap().into();
    let words =
        ["source (migration@localhost", "TLS: the server shows the certificate of an authority as its own"];
    assert_refused("its own root", &said, &words);
    let doctor: Said = hand.command(&["doctor", "--json"], &own).output().unwrap().into();
    let health = doctor.expect_code(4).json();
    let lines = health["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["place"] == "source" && line["what"] == "reachable").unwrap();
    assert_eq!(line["verdict"], "not_met", "{line:#}");
    assert!(line["fix"].as_str().unwrap().contains("make the two certificates"), "{line:#}");
    let found = line["found"].as_str().unwrap();
    let commands: Vec<&str> =
        found.lines().map(str::trim).filter(|line| line.starts_with("openssl ")).collect();
    assert_eq!(commands.len(), 2, "{found}");
    assert!(commands.iter().all(|command| said.stderr.contains(command)), "{}", said.stderr);
    assert!(everything(&hand.shop).await == before, "something has changed");

    // As they were printed, they make what verify-full takes; and only with the root that they made.
    for command in commands {
        let ran: Said =
            Command::new("sh").args(["-c", command]).current_dir(hand.dir.path()).output().unwrap().into();
        ran.expect_code(0);
    }
    hand.require_tls("source").await;
    let reaches = |text: &str| -> Said { hand.command(&["doctor"], text).output().unwrap().into() };
    reaches(&with_root("root.crt")).expect_code(0);
    reaches(&with_root("ca.crt")).expect_code(4);
    let elsewhere = with_root("root.crt").replacen("localhost", "127.0.0.1", 1);
    let said = reaches(&elsewhere).expect_code(4);
    assert!(said.stdout.contains("is for another host than 127.0.0.1"), "{}", said.stdout);
}
