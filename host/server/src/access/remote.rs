//! Keys that a provider publishes: where they are, and one look at them over HTTPS. What comes is
//! bounded in time and size, and comes from where the operator said: redirects are not followed.
//! Not for when that is (`follow`) and not for what keys are good (`jwks`).

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::jwks::LIMIT;
use ordain_store::secret::masked_url;
use ordain_store::utf8;

/// For one request, from the connection to the last byte.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why an address is none to get keys from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("is no URL like https://login.example/keys")]
    Form,
    #[error("must begin with https://: keys that come in the clear can be exchanged on the way")]
    Clear,
    #[error("has a user or a password in it, which keys that are public do not need")]
    User,
    #[error("has a query or a fragment, which no issuer has")]
    Query,
}

/// Where a provider publishes its keys.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    Keys(Url),
    /// By discovery (OpenID Connect Discovery 1.0, 4), for the issuer whose name is exactly this.
    Issuer(String, Url),
}

impl Address {
    pub fn keys(text: &str) -> Result<Address, AddressError> {
        let url = address(text)?;
        Ok(Address::Keys(url))
    }

    pub fn issuer(name: &str) -> Result<Address, AddressError> {
        let url = address(name)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Query);
        }
        let document = format!(
            "{}/.well-known/openid-configuration",
            name.trim_end_matches('/')
        );
        let document = Url::parse(&document).map_err(|_| AddressError::Form)?;
        Ok(Address::Issuer(name.to_owned(), document))
    }

    /// The variable that it is from.
    pub fn variable(&self) -> &'static str {
        match self {
            Address::Keys(_) => "ORDAIN_JWKS_URL",
            Address::Issuer(..) => "ORDAIN_OIDC_ISSUER",
        }
    }

    pub fn shown(&self) -> String {
        match self {
            Address::Keys(url) => masked_url(url.as_str()),
            Address::Issuer(name, _) => name.clone(),
        }
    }

    fn first(&self) -> &Url {
        match self {
            Address::Keys(url) | Address::Issuer(_, url) => url,
        }
    }
}

/// In the clear only on this machine.
fn address(text: &str) -> Result<Url, AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError::Form)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::User);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_near(&url) => Ok(url),
        "http" => Err(AddressError::Clear),
        _ => Err(AddressError::Form),
    }
}

fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

pub struct Remote {
    pub address: Address,
    client: Client,
}

impl Remote {
    /// Reads the system's authorities.
    pub fn new(address: Address) -> Result<Remote, String> {
        // An error means that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("ordain/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(DEADLINE);
        let first = address.first();
        let builder = match first.scheme() {
            // Without TLS no certificate is needed, and a machine without any must do.
            "http" => builder.tls_certs_only([]),
            _ => builder,
        };
        let builder = match is_near(first) {
            true => builder.no_proxy(),
            false => builder,
        };
        let client = builder.build().map_err(|error| cause(&error))?;
        Ok(Remote { address, client })
    }

    /// The text of the set as it is now, or why there is none.
    pub async fn fetch(&self) -> Result<Vec<u8>, String> {
        match &self.address {
            Address::Keys(url) => self.get(url).await,
            Address::Issuer(name, document) => {
                let url = self.discover(name, document).await?;
                let fetched = self.get(&url).await;
                fetched.map_err(|why| format!("its keys at {}: {why}", masked_url(url.as_str())))
            }
        }
    }

    async fn discover(&self, name: &str, document: &Url) -> Result<Url, String> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let text = self
            .get(document)
            .await
            .map_err(|why| format!("{document}: {why}"))?;
        let found = utf8::read(&text).ok();
        let found: Option<Document> = found.and_then(|text| serde_json::from_str(text).ok());
        let found =
            found.ok_or_else(|| format!("{document} is no document with issuer and jwks_uri"))?;
        // What calls itself by another name is another, or is asked under a name that tokens do not
        // bear.
        if found.issuer != name {
            let other: String = found.issuer.chars().take(200).collect();
            return Err(format!(
                "it calls itself {other:?}, which must be the same to the letter"
            ));
        }
        let url = address(&found.jwks_uri).map_err(|why| format!("its jwks_uri {why}"))?;
        // A far issuer cannot send this machine to itself in the clear.
        if document.scheme() == "https" && url.scheme() != "https" {
            return Err(format!("its jwks_uri {}", AddressError::Clear));
        }
        Ok(url)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, String> {
        let request = self
            .client
            .get(url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(format!(
                "it answers {}, a redirect, which is not followed",
                status.as_u16()
            ));
        }
        if status != reqwest::StatusCode::OK {
            return Err(format!("it answers {}", status.as_u16()));
        }
        let mut text = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if (text.len() + part.len()) as u64 > LIMIT {
                return Err(format!("it answers more than {} MiB", LIMIT >> 20));
            }
            text.extend_from_slice(&part);
        }
        Ok(text)
    }
}

fn failed(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", DEADLINE.as_secs());
    }
    cause(&error.without_url())
}

/// The innermost cause: the others only repeat that something failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_save_from_this_machine() {
        for good in [
            "https://login.example/keys?apikey=x",
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys",
            "http://[::1]:80/keys",
        ] {
            assert!(Address::keys(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://login.example/keys", AddressError::Clear),
            ("http://127.0.0.1.example/keys", AddressError::Clear),
            ("http://localhost.example/keys", AddressError::Clear),
            ("http://10.0.0.1/keys", AddressError::Clear),
            ("https://me:pw@login.example/keys", AddressError::User),
            ("login.example/keys", AddressError::Form),
            ("file:///etc/passwd", AddressError::Form),
            ("https://", AddressError::Form),
            ("", AddressError::Form),
        ] {
            assert_eq!(Address::keys(bad).err(), Some(why), "{bad}");
        }
        let query = Address::issuer("https://login.example?x=y");
        assert_eq!(query.err(), Some(AddressError::Query));
    }

    #[test]
    fn the_document_of_an_issuer_is_below_its_name() {
        for (name, expected) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/realms/x",
                "https://a.example/realms/x/.well-known/openid-configuration",
            ),
        ] {
            let address = Address::issuer(name).expect("an issuer");
            assert_eq!(address.first().as_str(), expected);
            assert_eq!(address.shown(), name, "to the letter");
        }
    }
}
