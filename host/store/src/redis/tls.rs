//! TLS to Redis: whom to believe, and the handshake. Certificates and host names are always
//! verified; there is no way to turn that off. Not for what is said over the connection.
//!
//! The driver's own TLS is not used: there a further authority replaces those of the system, and
//! each connection reads all of them anew from disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::future::select_ok;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Authorities that are believed beside those of the system.
#[derive(Clone, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// Why a file names no authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("it cannot be read: {0}")]
    File(#[from] io::Error),
    #[error("it is not PEM: {0}")]
    Pem(String),
    #[error("it holds no certificate")]
    Empty,
    #[error("certificate {0} in it is broken")]
    Broken(usize),
}

impl Authorities {
    /// Those in a PEM file, all of which must be usable.
    pub fn from_file(path: &Path) -> Result<Authorities, AuthoritiesError> {
        let pem = std::fs::read(path)?;
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| AuthoritiesError::Pem(error.to_string()))?;
        if certificates.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        for (index, certificate) in certificates.iter().enumerate() {
            if RootCertStore::empty().add(certificate.clone()).is_err() {
                return Err(AuthoritiesError::Broken(index + 1));
            }
        }
        Ok(Authorities(certificates))
    }
}

pub struct Tls(TlsConnector);

impl Tls {
    /// With the system's authorities as they are now.
    pub fn new(further: Authorities) -> Result<Tls, rustls::Error> {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "some of the system's certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        // Systems carry some that rustls does not read; the others still count.
        roots.add_parsable_certificates(system.certs);
        roots.add_parsable_certificates(further.0);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    /// A connection to a server that has proven to be `host`.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is no name that a certificate could have"))?;
        let addresses = tokio::net::lookup_host((host, port)).await;
        let mut tries = addresses
            .map_err(|error| error.to_string())?
            .map(|address| Box::pin(TcpStream::connect(address)))
            .peekable();
        if tries.peek().is_none() {
            return Err(format!("{host} has no address"));
        }
        let (stream, _) = select_ok(tries).await.map_err(|error| error.to_string())?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        self.0
            .connect(name, stream)
            .await
            .map_err(|error| words(&error, host))
    }
}

/// What a failed handshake means to whoever has to put it right.
fn words(error: &io::Error, host: &str) -> String {
    use rustls::Error;
    let tls = error.get_ref().and_then(|cause| cause.downcast_ref());
    match tls {
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "its certificate is signed by no known authority (--redis-ca, ORDAIN_REDIS_CA: a \
               file with further ones)"
            .to_owned(),
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("its certificate is not for the name {host}"),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired".to_owned(),
        Some(Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        Some(other) => format!("the TLS handshake failed: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the TLS handshake; does it speak TLS?".to_owned()
        }
        None => error.to_string(),
    }
}
