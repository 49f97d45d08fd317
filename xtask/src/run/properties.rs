//! What belongs to a database and stands in no dump of it alone: `backup` records it, `restore` gives it back.
//! Data only.

use crate::shown::escaped;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// That of ICU, or of PostgreSQL's own provider.
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
    pub tablespace: String,
    /// How many there may be; -1: any number.
    pub connections: i64,
    pub template: bool,
    pub comment: Option<String>,
    /// In the order in which they were given.
    pub grants: Vec<Grant>,
    pub settings: Vec<Setting>,
}

/// A privilege on the database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    pub grantor: String,
    /// `None`: PUBLIC.
    pub grantee: Option<String>,
    pub privilege: String,
    pub grantable: bool,
}

/// What `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET` have set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// `None`: for every role.
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

/// What a freeze sets.
const READ_ONLY: &str = "default_transaction_read_only";

impl Properties {
    /// As far as a run of an earlier version knows it: with PostgreSQL's own privileges.
    pub fn plain(owner: &str, encoding: &str) -> Properties {
        let everybody = ["CONNECT", "TEMPORARY"].map(|privilege| grant(owner, None, privilege));
        let owners = ["CREATE", "CONNECT", "TEMPORARY"].map(|privilege| grant(owner, Some(owner), privilege));
        Properties {
            owner: owner.to_string(),
            encoding: encoding.to_string(),
            collate: "C".to_string(),
            ctype: "C".to_string(),
            provider: "libc".to_string(),
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".to_string(),
            connections: -1,
            template: false,
            comment: None,
            grants: everybody.into_iter().chain(owners).collect(),
            settings: Vec::new(),
        }
    }

    /// With the database's own `default_transaction_read_only` as it was before a freeze.
    pub fn read_only_as_before(mut self, before: Option<&str>) -> Properties {
        self.settings.retain(|s| s.role.is_some() || s.name != READ_ONLY);
        self.settings.extend(before.map(|value| Setting {
            role: None,
            name: READ_ONLY.to_string(),
            value: value.to_string(),
        }));
        self
    }

    /// What another database has otherwise: a line each.
    pub fn differences(&self, found: &Properties) -> Vec<String> {
        let mut lines = Vec::new();
        let mut differs = |what: &str, wanted: String, found: String| {
            if wanted != found {
                lines.push(format!("{what}: {}, recorded {}", escaped(&found), escaped(&wanted)));
            }
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_string());
        let (a, b) = (self, found);
        differs("owner", a.owner.clone(), b.owner.clone());
        differs("encoding", a.encoding.clone(), b.encoding.clone());
        differs("LC_COLLATE", a.collate.clone(), b.collate.clone());
        differs("LC_CTYPE", a.ctype.clone(), b.ctype.clone());
        differs("locale provider", a.provider.clone(), b.provider.clone());
        differs("locale", text(&a.locale), text(&b.locale));
        differs("ICU rules", text(&a.icu_rules), text(&b.icu_rules));
        differs("tablespace", a.tablespace.clone(), b.tablespace.clone());
        differs("connection limit", a.connections.to_string(), b.connections.to_string());
        differs("template", a.template.to_string(), b.template.to_string());
        differs("comment", text(&a.comment), text(&b.comment));
        let set = |p: &Properties| (grants(&p.grants), settings(&p.settings));
        let ((given, set_for), (given_there, set_there)) = (set(a), set(b));
        lines.extend(one_sided("privilege", &given, &given_there));
        lines.extend(one_sided("setting", &set_for, &set_there));
        lines
    }
}

fn grant(owner: &str, grantee: Option<&str>, privilege: &str) -> Grant {
    Grant {
        grantor: owner.to_string(),
        grantee: grantee.map(str::to_string),
        privilege: privilege.to_string(),
        grantable: false,
    }
}

fn grants(grants: &[Grant]) -> BTreeSet<String> {
    let line = |g: &Grant| {
        let option = if g.grantable { " with grant option" } else { "" };
        let grantee = g.grantee.as_deref().unwrap_or("PUBLIC");
        format!("{} to {grantee}{option} by {}", g.privilege, g.grantor)
    };
    grants.iter().map(line).collect()
}

fn settings(settings: &[Setting]) -> BTreeSet<String> {
    let line = |s: &Setting| {
        let role = s.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
        format!("{} = {}{role}", s.name, s.value)
    };
    settings.iter().map(line).collect()
}

fn one_sided(what: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Vec<String> {
    let missing = wanted.difference(found).map(|line| format!("{what} is missing: {}", escaped(line)));
    let more = found.difference(wanted).map(|line| format!("{what} was not recorded: {}", escaped(line)));
    missing.chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_compared() {
        let recorded = Properties::plain("shop", "LATIN1");
        assert_eq!(recorded.differences(&recorded), Vec::<String>::new());
        let other = |change: fn(&mut Properties)| {
            let mut found = recorded.clone();
            change(&mut found);
            recorded.differences(&found)
        };
        let changes: [fn(&mut Properties); 12] = [
            |p| p.owner = "x".into(),
            |p| p.encoding = "x".into(),
            |p| p.collate = "x".into(),
            |p| p.ctype = "x".into(),
            |p| p.provider = "x".into(),
            |p| p.locale = Some("x".into()),
            |p| p.icu_rules = Some("x".into()),
            |p| p.tablespace = "x".into(),
            |p| p.connections = 7,
            |p| p.template = true,
            |p| p.comment = Some("x".into()),
            |p| p.grants[0].grantor = "x".into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let lines = if number == 11 { 2 } else { 1 };
            assert_eq!(other(change).len(), lines, "{number}");
        }
        assert_eq!(other(|p| p.owner = "x".into()), ["owner: x, recorded shop"]);
        assert_eq!(other(|p| drop(p.grants.remove(0))), ["privilege is missing: CONNECT to PUBLIC by shop"]);
        let setting = Setting { role: Some("r".into()), name: "n".into(), value: "v".into() };
        let mut found = recorded.clone();
        found.settings.push(setting);
        assert_eq!(recorded.differences(&found), ["setting was not recorded: n = v for r"]);
    }

    #[test]
    fn a_freeze_is_not_recorded_and_what_roles_have_stays() {
        let set = |role: Option<&str>, value: &str| Setting {
            role: role.map(str::to_string),
            name: READ_ONLY.into(),
            value: value.into(),
        };
        let mut frozen = Properties::plain("shop", "UTF8");
        frozen.settings = vec![set(None, "on"), set(Some("app"), "off")];
        assert_eq!(frozen.clone().read_only_as_before(None).settings, [set(Some("app"), "off")]);
        let before = frozen.read_only_as_before(Some("off")).settings;
        assert_eq!(before, [set(Some("app"), "off"), set(None, "off")]);
    }
}
