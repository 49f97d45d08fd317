//! Four servers as somebody else runs them: TLS for everybody but the test's own superuser, a
//! certificate for `localhost` alone, roles without more rights than they need, each with a password
//! that is kept in a place of its own; and an environment file that names all this.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::{Said, Shop};
use super::tool::within;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::effects::postgres;
use xtask::effects::wait::{self, State};
use xtask::servers::native::Connections;
use xtask::settings::{Server, Tls};

pub struct ByHand {
    pub shop: Shop,
    /// Certificates, secrets, the environment file.
    pub dir: tempfile::TempDir,
}

/// `label`, role, password.
pub const ROLES: [(&str, &str, &str); 4] = [
    ("source", "migration", "canary-source"),
    ("product", "product_user", "canary:product\\"),
    ("order", "order_user", "canary order"),
    ("gateway", "gateway_user", "canary-gateway"),
];

impl ByHand {
    pub async fn open() -> ByHand {
        let shop = Shop::open(0).await;
        let hand = ByHand { shop, dir: tempfile::tempdir().unwrap() };
        certificates(hand.dir.path());
        for (label, role, password) in ROLES {
            hand.create_role(label, role, password).await;
            hand.require_tls(label).await;
        }
        hand.write_secrets();
        hand
    }

    pub fn server(&self, label: &str) -> &Server {
        let s = &self.shop.settings;
        [&s.source, &s.product, &s.order, &s.gateway].into_iter().find(|s| s.label == label).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn create_role(&self, label: &str, role: &str, password: &str) {
        let mut superuser = self.shop.superuser(self.server(label)).await;
        if label == "source" {
            superuser.run(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
            superuser.run(&format!("GRANT pg_read_all_data, pg_read_all_stats TO {role}")).await.unwrap();
        }
        superuser.run(&format!("ALTER ROLE {role} NOSUPERUSER PASSWORD '{password}'")).await.unwrap();
    }

    /// The superuser stays as he is, so that the test can look.
    pub async fn require_tls(&self, label: &str) {
        let stack = Connections::read(self.shop.dir()).unwrap();
        let data = &stack.server(label).unwrap().data;
        for name in ["server.crt", "server.key"] {
            let to = data.join(name);
            fs::copy(self.path(name), &to).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
            let owner = fs::metadata(data).unwrap();
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let hba =
            "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        self.offer_tls(label, true).await;
    }

    /// Turns TLS on or off, and waits until it is.
    pub async fn offer_tls(&self, label: &str, on: bool) {
        let mut superuser = self.shop.superuser(self.server(label)).await;
        let value = if on { "on" } else { "off" };
        superuser.run(&format!("ALTER SYSTEM SET ssl = {value}")).await.unwrap();
        superuser.run("SELECT pg_reload_conf()").await.unwrap();
        let mut server = self.server(label).clone();
        (server.user, server.tls) = ("postgres".into(), Tls::Require);
        let turned = wait::for_state(format!("TLS of {label} to be {value}"), within(30, 20), async || {
            let connected = postgres::connect(&server, "test").await;
            let seen = connected.as_ref().err().map_or("connected".into(), |error| format!("{error:#}"));
            Ok(if connected.is_ok() == on { State::Ready(()) } else { State::NotYet(seen) })
        });
        turned.await.unwrap();
    }

    /// A file of 0600.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    pub fn write_secrets(&self) {
        let (order, gateway) = (self.server("order"), self.server("gateway"));
        self.write("source.password", "canary-source\n");
        self.write("pgpass", &format!(
            "# not this one\nlocalhost:{}:order_database:other:no\n*:{}:order_database:order_user:canary order\n",
            order.port, order.port
        ));
        self.write(
            "pg_service.conf",
            &format!(
                "[other]\nhost=nowhere\n\n[gateway]\nhost=localhost\nport={}\ndbname=gateway_database\n\
             user=gateway_user\npassword=canary-gateway\nsslmode=verify-full\nsslrootcert=ca.crt\n",
                gateway.port
            ),
        );
    }

    /// The environment file.
    pub fn text(&self) -> String {
        let server = |label: &str, user: &str, password: &str| {
            let Server { port, database, .. } = self.server(label);
            format!(
                "host = \"localhost\"\nport = {port}\ndatabase = \"{database}\"\nuser = \"{user}\"\n\
                 password = {password}\ntls = \"verify-full\"\ntls_root = \"ca.crt\"\n"
            )
        };
        format!(
            "[source]\n{}\n[targets.product]\n{}\n[targets.order]\n{}\n[targets.gateway]\nservice = \"gateway\"\n\
             service_file = \"./pg_service.conf\"\n\n[firestore]\nproject = \"staging\"\nemulator = true\n\
             emulator_host = \"{}\"\n\n[policy]\n",
            server("source", "migration", "{ file = \"source.password\" }"),
            server("product", "product_user", "{ env = \"PRODUCT_PASSWORD\" }"),
            server("order", "order_user", "{ pgpass = \"PGPASSFILE\" }"),
            self.shop.settings.firestore.emulator.as_deref().unwrap()
        )
    }

    /// The binary in this environment, with all variables set that it names.
    pub fn command(&self, arguments: &[&str], text: &str) -> Command {
        let file = self.path("staging.toml");
        fs::write(&file, text).unwrap();
        let mut command = crate::support::binary();
        command
            .args(crate::support::in_full(arguments))
            .arg("--env")
            .arg(&file)
            .arg("--backup-dir")
            .arg(self.shop.runs.path());
        command.env("PRODUCT_PASSWORD", "canary:product\\").env("PGPASSFILE", self.path("pgpass"));
        command.env_remove("FIRESTORE_EMULATOR_HOST");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments, &self.text()).output().unwrap().into()
    }
}

/// `ca.crt`, a server's certificate from it, and two other authorities: `namesake.crt` has the same name.
fn certificates(dir: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    for (authority, name) in
        [("ca", "/CN=authority"), ("namesake", "/CN=authority"), ("stranger", "/CN=stranger")]
    {
        let (crt, private) = (format!("{authority}.crt"), format!("{authority}.key"));
        let files = ["-keyout", &private, "-out", &crt, "-subj", name];
        openssl(dir, &[&["req", "-x509"][..], &key, &files].concat());
    }
    let files = ["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"];
    openssl(dir, &[&["req"][..], &key[..5], &files].concat());
    fs::write(dir.join("names"), "subjectAltName = DNS:localhost\n").unwrap();
    let files = ["-in", "server.csr", "-out", "server.crt", "-extfile", "names", "-days", "2"];
    let authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(dir, &[&["x509", "-req"][..], &files, &authority].concat());
}

pub fn openssl(dir: &Path, arguments: &[&str]) {
    let run = Command::new("openssl").args(arguments).current_dir(dir).output();
    let said: Said = run.expect("openssl is installed").into();
    said.expect_code(0);
}
