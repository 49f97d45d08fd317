//! Requests over HTTP: to the address that is named and nowhere else, whatever proxies the surroundings name;
//! a redirection is an answer like any other.

use anyhow::{Context, Result};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use std::time::{Duration, Instant};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read; what comes after them is left out.
const LARGEST: usize = 4 << 20;

/// Clones share their connections.
#[derive(Clone)]
pub struct Http(Client);

/// A request.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub url: Url,
    pub request_id: String,
    /// Shown as a bearer token.
    pub token: Option<SecretString>,
    /// JSON.
    pub body: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub body: String,
    pub took: Duration,
}

impl Http {
    pub fn new() -> Result<Http> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("xtask/", env!("CARGO_PKG_VERSION")));
        Ok(Http(client.build().context("making an HTTP client")?))
    }

    /// # Errors
    /// In one line why nothing came back: nobody listens, no such host, a certificate, no answer in time.
    pub async fn send(&self, call: &Call) -> Result<Answered, String> {
        let mut request = self.0.request(call.method.clone(), call.url.clone());
        request = request.header("x-request-id", &call.request_id);
        if let Some(token) = &call.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let began = Instant::now();
        let mut response = request.send().await.map_err(why)?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(why)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LARGEST {
                break;
            }
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answered { status, body, took: began.elapsed() })
    }
}

/// The innermost cause says most: `Connection refused (os error 111)`.
fn why(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", PATIENCE.as_secs());
    }
    let error = anyhow::Error::new(error.without_url());
    error.root_cause().to_string()
}
