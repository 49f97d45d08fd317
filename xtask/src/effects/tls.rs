//! Why a connection with TLS was not made, in words that say what to do. Nothing is ever weakened.
//!
//! What was learnt (rustls): the certificate of an authority is not taken for a server's, also where it is the
//! very root that is trusted, as a self-signed one made by `openssl req -x509` is. libpq takes it.

use crate::settings::{Server, Tls};
use rustls::CertificateError as Rejected;

/// What failed about TLS, if that did.
pub(super) fn advice(server: &Server, error: &sqlx::Error) -> Option<String> {
    let cause = cause(error)?;
    let root = match &server.tls {
        Tls::Verify { root, .. } => root.display().to_string(),
        Tls::Disable | Tls::Require => "no certificate".to_string(),
    };
    let advice = |advice: String| Some(format!("TLS: {advice}"));
    // sqlx has no type for a server that answers the request for TLS with no.
    if cause.to_string().contains("does not support TLS") {
        return advice(
            "the server does not offer it: turn it on there (ssl = on), or say tls = \"disable\"".into(),
        );
    }
    let rejected = match rejected(cause) {
        Some(rejected) => rejected,
        None if matches!(error, sqlx::Error::Tls(_)) => {
            return advice("check `tls` in the environment file".into());
        }
        None => return None,
    };
    match rejected {
        Rejected::NotValidForName | Rejected::NotValidForNameContext { .. } => advice(format!(
            "the server's certificate is for another host than {}: connect by a name that it has \
             (subjectAltName; its CN does not count), or add this one to it",
            server.host
        )),
        // BadSignature: of another authority with the same name.
        Rejected::UnknownIssuer | Rejected::BadSignature => advice(format!(
            "the server's certificate was not issued by the authority in {root}: is that the right root \
             certificate, is this the right server?"
        )),
        Rejected::Expired
        | Rejected::ExpiredContext { .. }
        | Rejected::NotValidYet
        | Rejected::NotValidYetContext { .. } => advice(
            "the server's certificate is not valid today: renew it, or set this machine's clock".into(),
        ),
        _ if is_its_own_root(rejected) => advice(format!(
            "the server shows the certificate of an authority as its own, which is refused: make a root, and a \
             certificate that it has issued (OpenSSL 3), give server.crt and server.key to the server and \
             root.crt to `tls_root`:\n  {}\nIt was said",
            commands(&server.host).join("\n  ")
        )),
        _ => advice("the server's certificate is not accepted".into()),
    }
}

fn cause(error: &sqlx::Error) -> Option<&(dyn std::error::Error + 'static)> {
    match error {
        sqlx::Error::Tls(error) => Some(error.as_ref()),
        sqlx::Error::Io(error) => Some(error.get_ref()?),
        _ => None,
    }
}

fn rejected<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a Rejected> {
    match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(rejected)) => Some(rejected),
        _ => None,
    }
}

/// rustls passes on what its verifier says; that one's type is of a crate that we do not know by name, so its
/// own word has to do.
fn is_its_own_root(rejected: &Rejected) -> bool {
    matches!(rejected, Rejected::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Whether it is TLS that a connection was not made for.
pub fn is_cause(server: &Server, error: &anyhow::Error) -> bool {
    datapath::postgres::cause(error).is_some_and(|error| advice(server, error).is_some())
}

/// Whether a server was not let speak because its certificate is an authority's.
pub fn shows_its_own_root(error: &anyhow::Error) -> bool {
    datapath::postgres::cause(error).and_then(cause).and_then(rejected).is_some_and(is_its_own_root)
}

/// The command that makes a root, and the one by which it issues a certificate for this host. Their subjects
/// do not have its name, which may be longer than a subject can be.
fn commands(host: &str) -> [String; 2] {
    let key = "openssl req -x509 -newkey rsa:2048 -nodes";
    let name = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    [
        format!("{key} -days 3650 -subj '/CN=root of PostgreSQL' -keyout root.key -out root.crt"),
        format!(
            "{key} -days 365 -subj '/CN=PostgreSQL' -addext 'subjectAltName={name}:{host}' \
             -addext 'basicConstraints=critical,CA:FALSE' -CA root.crt -CAkey root.key -keyout server.key \
             -out server.crt"
        ),
    ]
}
