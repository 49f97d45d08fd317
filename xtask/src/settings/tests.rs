//! Environment files as a person writes them, good and bad, in a made-up world.

use super::*;
use crate::model::{Service, Stop};
use anyhow::Result;
use datapath::document::NullPolicy;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Variables and files: text, mode.
#[derive(Clone, Default)]
struct Testbed {
    variables: Variables,
    files: BTreeMap<PathBuf, (String, u32)>,
}

impl Testbed {
    fn with(mut self, name: &str, value: &str) -> Testbed {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn file(mut self, path: &str, text: &str, mode: u32) -> Testbed {
        self.files.insert(path.into(), (text.into(), mode));
        self
    }
}

impl Surroundings for Testbed {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn file(&self, path: &Path) -> io::Result<Found> {
        let (text, mode) = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Found { bytes: text.clone().into_bytes(), mode: *mode })
    }
}

const SERVER: &str =
    "host = \"h\"\nport = 1\ndatabase = \"d\"\nuser = \"u\"\npassword = { env = \"P\" }\ntls = \"disable\"\n";

/// A file whose source and policy are these lines.
fn text(source: &str, firestore: &str, policy: &str) -> String {
    let targets = ["product", "order", "gateway"].map(|t| format!("[targets.{t}]\n{SERVER}")).concat();
    format!("[source]\n{source}\n{targets}[firestore]\n{firestore}\n[policy]\n{policy}\n")
}

fn parse(text: &str) -> Result<Environment> {
    Environment::read("test", Path::new("/env/test.toml"), text)
}

fn world() -> Testbed {
    Testbed::default().with("P", "secret-p").with("HOME", "/home/me")
}

fn settings(text: &str, world: &Testbed) -> Result<Settings> {
    parse(text)?.settings(world)
}

#[track_caller]
fn refused<T>(result: Result<T>, words: &[&str]) -> String {
    let Err(error) = result else { panic!("not refused: {words:?}") };
    assert!(matches!(error.downcast_ref(), Some(Stop::Refused(_))), "{error:#}");
    let said = error.to_string();
    words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is not in: {said}"));
    said
}

const PROJECT: &str = "project = \"p\"\nemulator = true\nemulator_host = \"e:1\"";

#[test]
fn everything_wrong_is_said_at_once_with_its_line() {
    let text = "stak = true\n[source]\nhots = \"hunter2\"\nport = \"hunter2\"\ndatabase = \"d\"\n\
                password = \"hunter2\"\ntls = \"verify_ful\"\n\n[targets.product]\n[targets.getaway]\n\
                [targets.order]\nhost = 5\nport = 70000\ndatabase = \"\"\nuser = \"u\"\ncolour = \"hunter2\"\n\
                password = { env = \"A\", hunter2 = \"hunter2\" }\ntls = \"hunter2\"\n\
                [firestore]\nrate = 0\nmax_cost = 1\n[services]\nuser = \"http://a:hunter2@b/\"\n\
                [policy]\nconfirm = \"yes\"\nrehearsal_max_age = 7\n";
    let said = refused(
        parse(text),
        &[
            "/env/test.toml:\n",
            "line 1: unknown key `stak`: did you mean `stack`?",
            "line 3: unknown key `source.hots`: did you mean `source.host`?",
            "line 4: `source.port` has to be a whole number from 1 to 65535, without quotes (found: a text)",
            "line 2: `source.user` is missing",
            "line 6: `source.password` has to be named, never written down: { env = ",
            "line 7: `source.tls` has to be one of disable, require, verify-ca, verify-full: did you mean verify-full?",
            "line 9: `targets.product.host` is missing",
            "line 10: unknown key [targets.getaway]: did you mean [targets.gateway]?",
            "line 12: `targets.order.host` has to be a text in quotes (found: a whole number)",
            "line 13: `targets.order.port` has to be",
            "line 14: `targets.order.database` has to be a text that is not empty",
            "line 16: unknown key `targets.order.colour`: known in [targets.order] are host, port, database",
            "line 17: `targets.order.password` has to be named",
            "line 18: `targets.order.tls` has to be one of disable",
            "line 19: `firestore.project` is missing",
            "line 20: `firestore.rate` has to be a number above 0",
            "line 19: `firestore.prices` is missing",
            "line 23: `services.user` has to be an address without user and password",
            "line 25: `policy.confirm` has to be true or false, without quotes (found: a text)",
            "line 26: `policy.rehearsal_max_age` has to be a number with its unit in quotes",
        ],
    );
    assert!(!said.contains("hunter2"), "{said}");
    // What was meant is there under another name: said once.
    assert!(
        !said.contains("`source.host` is missing") && !said.contains("`targets.gateway` is missing"),
        "{said}"
    );
    let lines: Vec<usize> = said
        .lines()
        .filter_map(|l| l.trim().strip_prefix("line ")?.split(':').next()?.parse().ok())
        .collect();
    assert!(lines.is_sorted() && lines.len() >= 20, "{lines:?}");
}

#[test]
fn what_is_no_toml_or_has_no_tables() {
    refused(parse("[source"), &["/env/test.toml: line 1: "]);
    let said = refused(parse("[source]\npassword = hunter2\n"), &["line 2: "]);
    assert!(!said.contains("hunter2"), "{said}");
    refused(parse("[source]\nhost = \"a\"\nhost = \"b\"\n"), &["line 3: ", "duplicate key"]);
    refused(
        parse(""),
        &["`source` is missing", "`targets` is missing", "`firestore` is missing", "`policy` is"],
    );
    refused(parse("source = 1\n"), &["line 1: `source` has to be a table: [source]"]);
}

#[test]
fn a_file_says_all_that_there_is() {
    let firestore = "project = \"p\"\ndatabase = \"other\"\nrate = 500\nmax_cost = 12.5\ncredentials = \"key\"\n\
                     [firestore.prices]\nreads = 0.06\nwrites = 0.18\ndeletes = 0\ncurrency = \"EUR\"\n\
                     [services]\nproduct = \"http://a/\"\nuser = \"container:b\"\n\
                     compose = \"../shop/docker-compose.yml\"\n\
                     [services.roles]\norder = \"b\"\ngateway = \"c\"\n\
                     [services.stop]\nuser = \"stop it\"\n[services.start]\nuser = \"start it\"\n\
                     [services.files]\norder = [\"x/*\", \"y\"]";
    let policy = "confirm = true\nmax_quarantine = 7\nemulator = false\nrehearsal_max_age = \"7d\"\n\
                  source_rate = 50\nmax_active_sessions = 3\nmax_replication_lag = \"10s\"\n\
                  freeze_roles = [\"a\", \"b\"]\nsource_encoding = \"LATIN1\"\nnull_policy = \"keep\"\n\
                  source_zone = \"Europe/Berlin\"";
    let world = world().file("/env/key", "{\"type\": \"service_account\", \"project_id\": \"p\"}", 0o644);
    let s = settings(&text(SERVER, firestore, policy), &world).unwrap();
    assert_eq!(s.firestore.database, "other");
    assert_eq!((s.firestore.rate, s.firestore.max_cost), (500.0, Some(12.5)));
    assert_eq!(s.firestore.credentials, Some("/env/key".into()));
    let prices = Prices { reads: 0.06, writes: 0.18, deletes: 0.0, currency: "EUR".into() };
    assert_eq!(s.firestore.prices, Some(prices));
    let endpoints = &s.services.endpoints;
    assert_eq!(endpoints.get(&Service::Product).map(String::as_str), Some("http://a/"));
    assert_eq!(endpoints.get(&Service::Order), None);
    assert_eq!(s.frozen_roles(), ["a", "b", "c"]);
    assert_eq!(s.services.compose, Some("/env/../shop/docker-compose.yml".into()));
    assert_eq!(s.services.directory, Path::new("/env"));
    assert_eq!(s.services.stop, [(Service::User, "stop it".to_string())].into());
    assert_eq!(s.services.start, [(Service::User, "start it".to_string())].into());
    assert_eq!(s.services.files, [(Service::Order, vec!["x/*".to_string(), "y".to_string()])].into());
    let alone = s.services.clone().left_alone();
    assert!(alone.compose.is_none() && alone.stop.is_empty() && alone.start.is_empty());
    assert_eq!((&alone.roles, &alone.files), (&s.services.roles, &s.services.files));
    let p = s.policy;
    assert_eq!((p.confirm, p.max_quarantine, p.emulator), (true, Some(7), false));
    assert_eq!(p.rehearsal_max_age, Some(Duration::from_secs(604_800)));
    assert_eq!((p.source_rate, p.max_active_sessions), (Some(50.0), Some(3)));
    assert_eq!(p.max_replication_lag, Some(Duration::from_secs(10)));
    assert_eq!(p.freeze_roles, ["a", "b"]);
    assert_eq!((p.source_encoding.as_deref(), p.null_policy), (Some("LATIN1"), NullPolicy::Keep));
    assert_eq!(p.source_zone, "Europe/Berlin");
}

#[test]
fn the_files_of_this_project() {
    for (name, text) in [
        ("local", include_str!("../../environments/local.toml")),
        ("staging", include_str!("../../environments/staging.toml")),
        ("production", include_str!("../../environments/production.toml")),
    ] {
        let environment = Environment::parse(name, text).unwrap();
        let policy = &environment.file.policy;
        assert_eq!(environment.uses_stack(), name == "local");
        assert_eq!(policy.emulator, name == "local");
        let strict = name == "production";
        assert_eq!((policy.confirm, policy.max_quarantine), (strict, strict.then_some(0)));
        assert_eq!(policy.rehearsal_max_age, strict.then_some(Duration::from_secs(604_800)));
        // What is written as an example there is right, once its sign is taken away.
        let lines = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split(' ').nth(1) == Some("=") => rest,
            _ => line,
        });
        Environment::parse(name, &lines.collect::<Vec<_>>().join("\n")).unwrap();
    }
}

#[test]
fn secrets_in_each_of_their_places() {
    let source = |password: &str| SERVER.replace("{ env = \"P\" }", password);
    let password = |password: &str, world: &Testbed| {
        let settings = settings(&text(&source(password), PROJECT, ""), world)?;
        let source = settings.source;
        anyhow::Ok((source.password.expose_secret().to_string(), source.password_from))
    };
    let pgpass = "h:1:d:you:no\nh:*:d:u:pass\\:word\n";
    let world = world()
        .file("/env/secrets/p", "hunter2\r\n", 0o600)
        .file("/env/open", "hunter2", 0o640)
        .file("/env/long", "hunter2\nhunter2\n", 0o600)
        .file("/env/empty", "\n", 0o600)
        .file("/home/me/.pgpass", pgpass, 0o400)
        .file("/open/pgpass", pgpass, 0o604)
        .file("/env/other", "h:2:d:u:hunter2\n", 0o600)
        .with("PGPASSFILE", "/home/me/.pgpass")
        .with("OPEN", "/open/pgpass")
        .with("EMPTY", "");
    for (place, expected, from) in [
        ("{ env = \"P\" }", "secret-p", "$P"),
        ("{ file = \"secrets/p\" }", "hunter2", "/env/secrets/p"),
        ("{ pgpass = \"~/.pgpass\" }", "pass:word", "/home/me/.pgpass:2"),
        ("{ pgpass = \"PGPASSFILE\" }", "pass:word", "/home/me/.pgpass:2"),
    ] {
        assert_eq!(password(place, &world).unwrap(), (expected.to_string(), from.to_string()), "{place}");
    }
    let who = "the password of source (u@h:1/d) ";
    for (place, words) in [
        (
            "{ env = \"MISSING\" }",
            "comes from $MISSING, which is not set: `read -rs MISSING && export MISSING`",
        ),
        ("{ env = \"EMPTY\" }", "comes from $EMPTY, which is empty"),
        ("{ file = \"nowhere\" }", "comes from /env/nowhere, which cannot be read"),
        ("{ file = \"open\" }", "others may use /env/open (mode 0640): `chmod 600 /env/open`"),
        ("{ file = \"long\" }", "comes from /env/long, which holds more than one line"),
        ("{ file = \"empty\" }", "comes from /env/empty, which is empty"),
        ("{ pgpass = \"MISSING\" }", "is in a password file: $MISSING is not set"),
        ("{ pgpass = \"OPEN\" }", "others may use /open/pgpass (mode 0604)"),
        ("{ pgpass = \"./other\" }", "is not in /env/other: no line fits h:1:d:u"),
    ] {
        let said = refused(password(place, &world), &[who, words]);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_service_completes_what_the_file_does_not_say() {
    let services = "[full]\nhost=sh\nport=7\ndbname=sd\nuser=su\npassword=sp\nsslmode=disable\n\
                    [half]\nhost=sh\ndbname=sd\nuser=su\npassfile=./pass\nsslmode=prefer\n\
                    [list]\nhost=a,b\ndbname=d\nuser=u\npassword=x\nport=no\nsslmode=disable\n";
    let world = world()
        .file("/env/pg_service.conf", services, 0o600)
        .file("/open.conf", services, 0o644)
        .file("/env/pass", "sh:5432:sd:me:from the file\n", 0o600)
        .with("PGSERVICEFILE", "/open.conf");
    let named = |name: &str, more: &str| {
        let source = format!("service = \"{name}\"\nservice_file = \"./pg_service.conf\"\n{more}");
        text(&source, PROJECT, "")
    };
    let full = settings(&named("full", ""), &world).unwrap().source;
    assert_eq!(full.to_string(), "source (su@sh:7/sd)");
    assert_eq!((full.password.expose_secret(), full.tls), ("sp", Tls::Disable));
    assert_eq!(full.password_from, "service file /env/pg_service.conf:6");
    // The environment file stands over it; libpq's port is the default.
    let more = "user = \"me\"\ntls = \"require\"";
    let half = settings(&named("half", more), &world).unwrap().source;
    assert_eq!(half.to_string(), "source (me@sh:5432/sd)");
    assert_eq!((half.password.expose_secret(), half.tls), ("from the file", Tls::Require));
    let full = settings(&named("full", "password = { env = \"P\" }"), &world).unwrap().source;
    assert_eq!(full.password.expose_secret(), "secret-p");

    refused(settings(&named("half", "user = \"me\""), &world), &["source.tls sslmode has to be one of"]);
    let words = [
        "source.host: service file /env/pg_service.conf:15 does not hold one host",
        "source.port: service file /env/pg_service.conf:19 does not hold one port",
    ];
    refused(settings(&named("list", ""), &world), &words);
    let said = refused(settings(&named("ful", ""), &world), &["service [ful]", "did you mean [full]?"]);
    assert!(!said.contains("is missing"), "only the cause: {said}");
    let source = "service = \"full\"\nservice_file = \"PGSERVICEFILE\"";
    refused(settings(&text(source, PROJECT, ""), &world), &["others may use /open.conf (mode 0644)"]);
    refused(
        settings(&text("service = \"full\"", PROJECT, ""), &world),
        &["`source.service_file` is missing"],
    );
    refused(settings(&text("service_file = \"./x\"", PROJECT, ""), &world), &["`source.service` is missing"]);
}

#[test]
fn certificates_where_they_are_looked_at() {
    let world = world().file("/env/root.crt", "-----BEGIN CERTIFICATE-----\n", 0o644).file(
        "/env/empty.crt",
        "",
        0o644,
    );
    let tls = |lines: &str| {
        let source = SERVER.replace("tls = \"disable\"\n", lines);
        settings(&text(&source, PROJECT, ""), &world).map(|s| s.source.tls)
    };
    let verify = |full| Tls::Verify { root: "/env/root.crt".into(), full };
    assert_eq!(tls("tls = \"verify-ca\"\ntls_root = \"root.crt\"").unwrap(), verify(false));
    assert_eq!(tls("tls = \"verify-full\"\ntls_root = \"/env/root.crt\"").unwrap(), verify(true));
    assert_eq!(tls("tls = \"require\"").unwrap(), Tls::Require);
    refused(tls("tls = \"verify-full\""), &["source.tls wants a certificate", "tls_root = "]);
    refused(tls("tls = \"require\"\ntls_root = \"root.crt\""), &["looks at no certificate", "verify-full"]);
    refused(tls("tls = \"verify-ca\"\ntls_root = \"no.crt\""), &["/env/no.crt, which cannot be read"]);
    refused(tls("tls = \"verify-ca\"\ntls_root = \"empty.crt\""), &["/env/empty.crt, which holds none"]);
}

#[test]
fn credentials_of_the_right_project() {
    const KEY: &str = "{\"type\": \"service_account\", \"project_id\": \"p\", \"private_key\": \"hunter2\"}";
    let world = world()
        .file("/env/right", KEY, 0o600)
        .file("/env/wrong", &KEY.replace("\"p\"", "\"q\""), 0o600)
        .file("/env/person", "{\"type\": \"authorized_user\"}", 0o600)
        .file("/env/torn", "{\"private_key\": \"hunter2", 0o600);
    let credentials = |file: &str, variable: Option<&str>| {
        let file = format!("project = \"p\"\n{file}");
        let world = variable.map(|v| world.clone().with("GOOGLE_APPLICATION_CREDENTIALS", v));
        settings(&text(SERVER, &file, ""), world.as_ref().unwrap_or(&self::world()))
            .map(|s| s.firestore.credentials)
    };
    let in_file = |name: &str| {
        let file = format!("project = \"p\"\ncredentials = \"{name}\"");
        settings(&text(SERVER, &file, ""), &world).map(|s| s.firestore.credentials)
    };
    assert_eq!(credentials("", None).unwrap(), None, "application default credentials");
    assert_eq!(in_file("right").unwrap(), Some("/env/right".into()));
    assert_eq!(credentials("", Some("/env/right")).unwrap(), Some("/env/right".into()));
    // The variable stands over the file.
    assert_eq!(
        credentials("credentials = \"wrong\"", Some("/env/right")).unwrap(),
        Some("/env/right".into())
    );
    assert_eq!(credentials("", Some("/env/person")).unwrap(), None, "the client knows that kind");
    let both = ["of project `q`", "firestore.project is `p`"];
    refused(in_file("wrong"), &[both[0], both[1], "/env/wrong (/env/test.toml:"]);
    refused(
        credentials("credentials = \"right\"", Some("/env/wrong")),
        &[both[0], both[1], "($GOOGLE_APPLICATION_CREDENTIALS)"],
    );
    refused(in_file("person"), &["not the key of a service account"]);
    refused(in_file("nowhere"), &["/env/nowhere", "cannot be read"]);
    let said = refused(in_file("torn"), &["/env/torn", "which is not JSON"]);
    assert!(!said.contains("hunter2"), "{said}");
    // An emulator takes none: what is set for other programs does not matter.
    let world = self::world().with("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere");
    assert_eq!(settings(&text(SERVER, PROJECT, ""), &world).unwrap().firestore.credentials, None);
}

#[test]
fn no_emulator_where_the_policy_says_so() {
    let words = ["firestore.emulator = true (/env/test.toml:", "policy.emulator = false (/env/test.toml:"];
    refused(settings(&text(SERVER, PROJECT, "emulator = false"), &world()), &words);
    let stack = format!("stack = true\n{}", text(SERVER, "project = \"p\"", "emulator = false"));
    refused(settings(&stack, &world()), &["stack = true (/env/test.toml:1)", words[1]]);
    let ambient = world().with("FIRESTORE_EMULATOR_HOST", "e:1");
    let real = text(SERVER, "project = \"p\"", "emulator = false");
    refused(settings(&real, &ambient), &["FIRESTORE_EMULATOR_HOST=e:1", "unset it"]);
}

#[test]
fn flag_over_variable_over_file_over_default() {
    let rate = |file: &str, variable: Option<&str>, flag: Option<f64>| {
        let text = text(SERVER, &format!("{PROJECT}\n{file}"), "");
        let mut world = world();
        world.variables.extend(variable.map(|v| ("XTASK_FIRESTORE_RATE".to_string(), v.to_string())));
        let environment = parse(&text)?.with(&Flags { firestore_rate: flag }, &world.variables)?;
        let entry = environment.shown(&world).values.into_iter().find(|e| e.key == "firestore.rate").unwrap();
        let rate = environment.settings(&world)?.firestore.rate;
        assert_eq!(entry.value, Some(rate.to_string()));
        anyhow::Ok((rate, entry.origin.to_string()))
    };
    let is = |rate: f64, origin: &str| (rate, origin.to_string());
    assert_eq!(rate("", None, None).unwrap(), is(10_000.0, "default"));
    assert_eq!(rate("rate = 3", None, None).unwrap(), is(3.0, "/env/test.toml:34"));
    assert_eq!(rate("rate = 3", Some("2"), None).unwrap(), is(2.0, "$XTASK_FIRESTORE_RATE"));
    assert_eq!(rate("rate = 3", Some("2"), Some(1.0)).unwrap(), is(1.0, "--firestore-rate"));
    refused(rate("", Some("hunter2"), None), &["$XTASK_FIRESTORE_RATE is not a number", "unset it"]);
    refused(rate("", Some("-1"), None), &["$XTASK_FIRESTORE_RATE: the rate has to be"]);
    refused(rate("", None, Some(f64::NAN)), &["--firestore-rate: the rate has to be"]);
    let variables = Variables::from([("XTASK_MAX_QUARANTINE".into(), "5".into())]);
    let environment = parse(&text(SERVER, PROJECT, "max_quarantine = 0")).unwrap();
    let environment = environment.with(&Flags::default(), &variables).unwrap();
    assert_eq!(environment.settings(&world()).unwrap().policy.max_quarantine, Some(5));
}

#[test]
fn everything_is_shown_but_secrets() {
    let environment = parse(&text(SERVER, PROJECT, "confirm = true")).unwrap();
    let shown = environment.shown(&world());
    assert_eq!(shown.problems, Vec::<String>::new());
    let (text, json) = (shown.text(), serde_json::to_string(&shown).unwrap());
    assert!(!text.contains("secret-p") && !json.contains("secret-p"), "{text}{json}");
    let line = |key: &str| {
        let line = text.lines().find(|l| l.trim_start().starts_with(&format!("{key} "))).expect(key);
        line.split("  ").map(str::trim).filter(|w| !w.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(line("source.port"), ["source.port", "1", "test.toml:3"]);
    assert_eq!(line("source.password"), ["source.password", "(secret, set)", "$P"]);
    assert_eq!(line("policy.confirm"), ["policy.confirm", "true", "test.toml:35"]);
    assert_eq!(line("policy.source_zone"), ["policy.source_zone", "UTC", "default"]);
    assert_eq!(line("policy.max_quarantine"), ["policy.max_quarantine", "–", "not set"]);
    assert_eq!(line("firestore.emulator_host"), ["firestore.emulator_host", "e:1", "test.toml:33"]);

    let shown = environment.shown(&Testbed::default());
    assert_eq!(shown.problems.len(), 4, "{:?}", shown.problems);
    assert!(shown.text().contains("(secret, NOT SET)"), "{}", shown.text());
    let missing = shown.values.iter().filter(|e| e.present == Some(false)).count();
    assert_eq!((missing, shown.values.len()), (4, environment.shown(&world()).values.len()));
}

#[test]
fn how_services_are_stopped_is_said_in_known_words() {
    let services = "project = \"p\"\n[services]\ncompos = \"a\"\n[services.stop]\nusr = \"x\"\norder = 1\n\
                    [services.files]\nuser = \"one\"";
    let words = [
        "unknown key `services.compos`: did you mean `services.compose`?",
        "unknown key `services.stop.usr`: did you mean `services.stop.user`?",
        "`services.stop.order` has to be a text in quotes",
        "`services.files.user` has to be a list of names",
    ];
    refused(parse(&text(SERVER, services, "")), &words);
}

#[test]
fn what_tests_the_services() {
    let services = |lines: &str| text(SERVER, &format!("{PROJECT}\n[services]\n{lines}"), "");
    let named =
        services("token = { env = \"T\" }\nlogs = { user = \"logs/user.log\", order = \"/var/log/o\" }");
    // Whoever does not need the token is not refused for want of it.
    let logs = settings(&named, &world()).unwrap().services.logs;
    assert_eq!(logs[&Service::User], Path::new("/env/logs/user.log"));
    assert_eq!(logs[&Service::Order], Path::new("/var/log/o"));
    let environment = parse(&named).unwrap();
    refused(environment.token(&world()), &["/env/test.toml: services.token comes from $T, which is not set"]);
    let token = environment.token(&world().with("T", "t")).unwrap().unwrap();
    assert_eq!(token.expose_secret(), "t");
    assert!(parse(&services("")).unwrap().token(&world()).unwrap().is_none());
    let file = parse(&services("token = { file = \"token\" }")).unwrap();
    assert_eq!(file.token(&world().file("/env/token", "t\n", 0o600)).unwrap().unwrap().expose_secret(), "t");
    refused(
        file.token(&world().file("/env/token", "t\n", 0o644)),
        &["services.token", "chmod 600 /env/token"],
    );
    for wrong in ["\"hunter2\"", "{ pgpass = \"./hunter2\" }"] {
        let said = refused(
            parse(&services(&format!("token = {wrong}"))),
            &["line 35: `services.token` has to be named"],
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
    refused(parse(&services("logs = { usr = \"a\" }")), &["unknown key `services.logs.usr`: did you mean"]);
}
