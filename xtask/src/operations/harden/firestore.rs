//! What clients may do in Firestore: the rules of `firestore/`, tried as somebody who is logged in, as somebody else
//! and as nobody. An emulator gets them loaded; to a project of Google's they are deployed with Firebase's own tool.
//!
//! No trial changes anything, whatever the rules say: a write is one to a document that is not there, under the
//! condition that it is.

use super::outcome::{Hardened, Mode, Weakness};
use crate::effects::http::{Answered, Call, Http};
use crate::refuse;
use crate::settings::Firestore;
use anyhow::{Context, Result, anyhow};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use datapath::firestore::HOST;
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Lets everything through in an emulator, and nothing anywhere else.
const OWNER: &str = "owner";
/// A document, and whoever has that uid: there is none.
const NOBODY: &str = "xtask_harden_nobody";

/// Who asks.
enum As<'a> {
    Nobody,
    User(&'a str),
}

/// What is asked, and whether it has to be refused.
struct Trial<'a> {
    what: &'static str,
    who: As<'a>,
    method: Method,
    path: [&'a str; 2],
    refused: bool,
}

struct Client<'a> {
    http: Http,
    settings: &'a Firestore,
}

/// # Errors
/// Refuses rules that the emulator does not understand; fails where nobody answers.
pub(super) async fn harden(settings: &Firestore, mode: Mode, rules: &Path) -> Result<Hardened> {
    let client = Client { http: Http::new()?, settings };
    let mut result = Hardened::new("firestore");
    let content = match fs::read_to_string(rules) {
        Ok(content) => content,
        Err(error) => refuse!("the rules {} cannot be read: {error}", rules.display()),
    };
    if settings.emulator.is_some() && mode == Mode::Apply {
        client.load(&content, rules).await?;
        result.statements.push(format!("rules of {} loaded into the emulator", rules.display()));
    }
    client.try_out(mode, rules, &mut result).await?;
    if settings.emulator.is_none() {
        let folder = rules.parent().unwrap_or(Path::new("."));
        let (project, folder) = (&settings.project, folder.display());
        result.advice.push(format!(
            "deploy rules and indexes: (cd {folder} && firebase deploy --project {project} --only \
             firestore:rules,firestore:indexes)"
        ));
        result.advice.push(format!(
            "seven days of point-in-time recovery: gcloud firestore databases update --project {project} \
             --database '{}' --enable-pitr",
            settings.database
        ));
    }
    Ok(result)
}

impl Client<'_> {
    async fn load(&self, content: &str, rules: &Path) -> Result<()> {
        let mut url = self.base()?;
        url.set_path(&format!("emulator/v1/projects/{}:securityRules", self.settings.project));
        let body = json!({ "rules": { "files": [{ "name": "firestore.rules", "content": content }] } });
        let answered = self.send(Method::PUT, url, Some(OWNER.into()), Some(body.to_string())).await?;
        match answered.status {
            200 => Ok(()),
            status => refuse!(
                "{}: the emulator does not take these rules ({status}): {}",
                rules.display(),
                answered.body.trim()
            ),
        }
    }

    async fn try_out(&self, mode: Mode, rules: &Path, result: &mut Hardened) -> Result<()> {
        let emulated = self.settings.emulator.is_some();
        let user = if emulated { self.one_of("users").await? } else { None };
        let session = if emulated { self.one_of("user_sessions").await? } else { None };
        let user = user.as_deref().unwrap_or(NOBODY);
        let session = session.as_deref().unwrap_or(NOBODY);
        let mut trials = as_nobody(user, session);
        if emulated {
            // Whose token it is, an emulator believes everybody.
            trials.extend(as_users(user, session));
        }
        for trial in trials {
            let answered = self.ask(&trial).await?;
            match (trial.refused, answered.status) {
                (true, 403) => result.refused += 1,
                // Nobody is there who could read his own.
                (false, 404) if user == NOBODY => result.allowed += 1,
                (false, 200) => result.allowed += 1,
                (_, status) => result.add(Weakness {
                    store: "firestore".into(),
                    cis: None,
                    what: format!(
                        "{}: {status}, expected {}",
                        trial.what,
                        if trial.refused { "403" } else { "200" }
                    ),
                    todo: match (emulated, mode) {
                        (true, Mode::Look) => None,
                        (true, Mode::Apply) => Some(format!("fix {}", rules.display())),
                        (false, _) => Some(format!("deploy {}", rules.display())),
                    },
                    weighs: true,
                }),
            }
        }
        Ok(())
    }

    async fn ask(&self, trial: &Trial<'_>) -> Result<Answered> {
        let mut url = self.documents(&trial.path)?;
        let body = match trial.method {
            Method::PATCH => Some(json!({ "fields": {} }).to_string()),
            _ => None,
        };
        if trial.method != Method::GET {
            url.query_pairs_mut().append_pair("currentDocument.exists", "true");
        }
        let token = match trial.who {
            As::Nobody => None,
            As::User(uid) => Some(SecretString::from(self.token(uid))),
        };
        self.send(trial.method.clone(), url, token, body).await
    }

    /// The id of a document that a URL can name as it is, where there is any.
    async fn one_of(&self, collection: &str) -> Result<Option<String>> {
        let mut url = self.documents(&[collection, ""])?;
        url.query_pairs_mut().append_pair("pageSize", "100");
        let answered = self.send(Method::GET, url, Some(OWNER.into()), None).await?;
        let page: Value = serde_json::from_str(&answered.body)
            .with_context(|| format!("the documents of {collection}: status {}", answered.status))?;
        let documents = page["documents"].as_array().into_iter().flatten();
        let mut ids = documents.filter_map(|document| Some(document["name"].as_str()?.rsplit_once('/')?.1));
        let plain = |id: &&str| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        Ok(ids.find(plain).map(String::from))
    }

    fn base(&self) -> Result<Url> {
        let base = match &self.settings.emulator {
            Some(host) => format!("http://{host}/"),
            None => format!("https://{HOST}/"),
        };
        Url::parse(&base).with_context(|| format!("the address {base}"))
    }

    /// Of a document, or with an empty id of its collection.
    fn documents(&self, path: &[&str; 2]) -> Result<Url> {
        let mut url = self.base()?;
        let Firestore { project, database, .. } = self.settings;
        let mut segments = url.path_segments_mut().map_err(|()| anyhow!("an address without a path"))?;
        segments.clear().extend(["v1", "projects", project, "databases", database, "documents"]);
        segments.extend(path.iter().filter(|part| !part.is_empty()));
        drop(segments);
        Ok(url)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        token: Option<SecretString>,
        body: Option<String>,
    ) -> Result<Answered> {
        let place = url.origin().ascii_serialization();
        let call = Call { method, url, request_id: "xtask-harden".into(), token, body };
        self.http.send(&call).await.map_err(|why| anyhow!("Firestore at {place}: {why}"))
    }

    /// As Firebase makes it, but unsigned: for an emulator.
    fn token(&self, uid: &str) -> String {
        let project = &self.settings.project;
        let claims = json!({
            "iss": format!("https://securetoken.google.com/{project}"), "aud": project,
            "sub": uid, "user_id": uid, "iat": 0, "exp": 4_102_444_800_u64,
        });
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), part(claims))
    }
}

fn as_nobody<'a>(user: &'a str, session: &'a str) -> Vec<Trial<'a>> {
    let get = |what, path| Trial { what, who: As::Nobody, method: Method::GET, path, refused: true };
    vec![
        get("a client that is not logged in reads a user", ["users", user]),
        get("a client that is not logged in lists the users", ["users", ""]),
        get("a client that is not logged in reads a session", ["user_sessions", session]),
        get("a client that is not logged in lists the sessions", ["user_sessions", ""]),
        get("a client that is not logged in reads the tool's own document", ["xtask", "state"]),
    ]
}

fn as_users<'a>(user: &'a str, session: &'a str) -> Vec<Trial<'a>> {
    let ask = |what, who, method, path| Trial { what, who: As::User(who), method, path, refused: true };
    let own =
        Trial { refused: false, ..ask("a user reads the own account", user, Method::GET, ["users", user]) };
    vec![
        own,
        ask(
            "a user reads another's account",
            NOBODY,
            Method::GET,
            ["users", if user == NOBODY { "another" } else { user }],
        ),
        ask("a user lists the users", user, Method::GET, ["users", ""]),
        ask("a user reads a session", user, Method::GET, ["user_sessions", session]),
        ask("a user lists the sessions", user, Method::GET, ["user_sessions", ""]),
        ask("a user reads the tool's own document", user, Method::GET, ["xtask", "state"]),
        ask("a user writes the own account", NOBODY, Method::PATCH, ["users", NOBODY]),
        ask("a user deletes the own account", NOBODY, Method::DELETE, ["users", NOBODY]),
        ask("a user writes a session", user, Method::PATCH, ["user_sessions", NOBODY]),
        ask("a user writes where nothing is known", user, Method::PATCH, ["nowhere", NOBODY]),
    ]
}
