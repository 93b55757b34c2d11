//! The form of a token (RFC 7515, compact): three parts, and a header that says how it is signed.
//! What the header says is a claim like any other: it chooses among keys that are known, and brings
//! none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::denied::Denied;
use super::json;
use super::key::Algorithm;

/// Longest token, in bytes.
pub const LIMIT: usize = 8 << 10;

/// A token whose signature nobody has looked at yet.
pub struct Token<'a> {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// What is signed.
    pub message: &'a [u8],
    pub signature: Vec<u8>,
    claims: &'a str,
}

impl<'a> Token<'a> {
    pub fn read(text: &'a str) -> Result<Token<'a>, Denied> {
        let no_token = Denied::Invalid("the token is not three parts in base64url");
        let (message, signature) = text.rsplit_once('.').ok_or(no_token)?;
        let (header, claims) = message.split_once('.').ok_or(no_token)?;
        if claims.contains('.') {
            return Err(no_token);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| no_token);
        let header = json::object(&decode(header)?);
        let header = header.ok_or(Denied::Invalid("the token's header is not a JSON object"))?;
        // What must be understood is not. Where keys could be found (jwk, jku, x5u, x5c) is not
        // looked at: nothing that a token brings says by which key it is checked, save the name of
        // one that is known.
        if header.contains_key("crit") {
            return Err(Denied::Invalid(
                "the token's header has crit, which is not taken",
            ));
        }
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::of)
            .ok_or(Denied::Invalid(
                "the token's alg is not one of HS256, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
            ))?;
        let kid = match header.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Denied::Invalid("the token's kid is not a string")),
        };
        Ok(Token {
            algorithm,
            kid,
            message: message.as_bytes(),
            signature: decode(signature)?,
            claims,
        })
    }

    /// The bytes of the claims: for whoever has checked the signature.
    pub fn claims(&self) -> Result<Vec<u8>, Denied> {
        URL_SAFE_NO_PAD
            .decode(self.claims)
            .map_err(|_| Denied::Invalid("the token is not three parts in base64url"))
    }
}
