//! Who may publish and subscribe to what: static keys, and tokens that somebody else issues.
//!
//! Both grant lists of patterns. Without a file of keys everybody may do everything, and the gateway binds to this machine only.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use pubsub::Pattern;
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// Shorter keys can be guessed.
const KEY_MIN: usize = 16;
/// Tokens longer than that are nobody's.
const TOKEN_MAX: usize = 8192;
/// How much clocks may differ where that harms nobody.
const LEEWAY_SECONDS: Seconds = 60.0;

/// What a client may do.
#[derive(Debug, Clone)]
pub struct Grants {
    publish: Patterns,
    subscribe: Patterns,
    /// When they end.
    pub expires: Option<SystemTime>,
}

#[derive(Debug, Clone)]
enum Patterns {
    All,
    Listed(Vec<Pattern>),
}

impl Patterns {
    fn parse(list: &[String]) -> Result<Patterns, String> {
        let parse = |text: &String| Pattern::parse(text).map_err(|error| error.to_string());
        list.iter().map(parse).collect::<Result<_, _>>().map(Patterns::Listed)
    }

    fn cover(&self, pattern: &str) -> bool {
        match self {
            Patterns::All => true,
            Patterns::Listed(list) => list.iter().any(|granted| covers(granted, pattern)),
        }
    }
}

impl Grants {
    /// Everything.
    pub fn all() -> Grants {
        Grants { publish: Patterns::All, subscribe: Patterns::All, expires: None }
    }

    /// Whether it may publish to this topic, make and delete it.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish.cover(topic)
    }

    /// Whether it may subscribe to this topic or pattern, and read histories.
    pub fn may_subscribe(&self, pattern: &str) -> bool {
        self.subscribe.cover(pattern)
    }

    /// Whether it may know that a topic is there.
    pub fn may_see(&self, topic: &str) -> bool {
        self.may_subscribe(topic) || self.may_publish(topic)
    }

    /// How much longer they hold.
    pub fn remaining(&self) -> Option<Duration> {
        self.expires.map(|end| end.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO))
    }
}

/// Whether everything that `wanted` matches is matched by `granted`. Errs on the side of no.
fn covers(granted: &Pattern, wanted: &str) -> bool {
    if granted.as_str() == wanted {
        return true;
    }
    if !wanted.contains(['=', '+']) {
        return granted.matches(wanted);
    }
    // Word by word. `=` alone stands for any word that has no `+` in it, `+` alone for the rest. No wildcard stands for an
    // empty word, and an empty word is only itself.
    let mut wanted = wanted.split('.');
    let mut granted = granted.as_str().split('.').peekable();
    loop {
        match (granted.next(), wanted.next()) {
            (None, None) => return true,
            (Some("+"), Some(word)) if granted.peek().is_none() => {
                return !word.is_empty() && wanted.all(|word| !word.is_empty());
            }
            (Some("="), Some(word)) if !word.is_empty() && !word.contains('+') => {}
            (Some(have), Some(word)) if have == word => {}
            _ => return false,
        }
    }
}

/// The file of `--auth`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<KeyEntry>,
    jwt: Option<JwtEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    key: String,
    #[serde(default, rename = "pub")]
    publish: Vec<String>,
    #[serde(default, rename = "sub")]
    subscribe: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtEntry {
    algorithm: Algorithm,
    secret: Option<String>,
    public_key: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
}

/// The claims that count here. `sub` is a list of patterns; the string that is usual there is the subject, and grants nothing.
#[derive(Deserialize)]
struct Claims {
    exp: Seconds,
    nbf: Option<Seconds>,
    iss: Option<String>,
    #[serde(default)]
    aud: Listed,
    #[serde(default, rename = "pub")]
    publish: Listed,
    #[serde(default, rename = "sub")]
    subscribe: Listed,
}

/// Since the epoch; whole as a rule, but it need not be.
type Seconds = f64;

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    List(Vec<String>),
    One(String),
}

impl Default for Listed {
    fn default() -> Listed {
        Listed::List(Vec::new())
    }
}

impl Listed {
    fn listed(&self) -> &[String] {
        match self {
            Listed::List(list) => list,
            Listed::One(_) => &[],
        }
    }
}

/// Keys and the issuer of tokens.
pub struct Auth {
    keys: Vec<(String, Grants)>,
    jwt: Option<Issuer>,
}

impl Auth {
    /// Reads the file of keys. The error says what is wrong with it and never what it holds.
    pub fn read(path: &Path) -> Result<Auth, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("reading {shown}: {error}"))?;
        let file: File = serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        Auth::new(file).map_err(|error| format!("{shown}: {error}"))
    }

    fn new(file: File) -> Result<Auth, String> {
        if file.keys.is_empty() && file.jwt.is_none() {
            return Err("it has neither \"keys\" nor \"jwt\", so nobody could do anything".into());
        }
        let mut keys = Vec::new();
        for (index, entry) in file.keys.into_iter().enumerate() {
            if entry.key.len() < KEY_MIN {
                return Err(format!("keys[{index}]: a key has at least {KEY_MIN} characters"));
            }
            if !entry.key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)) {
                return Err(format!("keys[{index}]: a key is made of [A-Za-z0-9._~-], which need no escape in a URL"));
            }
            if let Some(first) = keys.iter().position(|(key, _): &(String, Grants)| *key == entry.key) {
                return Err(format!("keys[{index}]: the same key as keys[{first}]"));
            }
            let parse = |list: &[String]| Patterns::parse(list).map_err(|error| format!("keys[{index}]: {error}"));
            let (publish, subscribe) = (parse(&entry.publish)?, parse(&entry.subscribe)?);
            keys.push((entry.key, Grants { publish, subscribe, expires: None }));
        }
        Ok(Auth { keys, jwt: file.jwt.map(issuer).transpose()? })
    }

    /// What this token grants; `None`: it is nobody's.
    pub fn grants(&self, token: &str) -> Option<Grants> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        // All of them, so that the time tells neither which one nor how much of it was right.
        let mut found = None;
        for (key, grants) in &self.keys {
            if bool::from(key.as_bytes().ct_eq(token.as_bytes())) {
                found = Some(grants);
            }
        }
        if let Some(grants) = found {
            return Some(grants.clone());
        }
        let claims = self.jwt.as_ref()?.claims(token)?;
        Some(Grants {
            publish: Patterns::parse(claims.publish.listed()).ok()?,
            subscribe: Patterns::parse(claims.subscribe.listed()).ok()?,
            expires: Duration::try_from_secs_f64(claims.exp).ok().and_then(|time| UNIX_EPOCH.checked_add(time)),
        })
    }
}

/// Who issues tokens, and for whom.
struct Issuer {
    algorithm: Algorithm,
    key: DecodingKey,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Issuer {
    /// The claims of a token that this issuer signed and that holds now. Checked here, since `jsonwebtoken::decode` cannot
    /// read a token whose `sub` is a list.
    fn claims(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (_, payload) = signed.split_once('.')?;
        // The algorithm is what the file says; a token that says another one is not what was agreed on.
        if jsonwebtoken::decode_header(token).ok()?.alg != self.algorithm
            || !jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm).ok()?
        {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        let is_now = now < claims.exp && claims.nbf.is_none_or(|from| from <= now + LEEWAY_SECONDS);
        let is_issuers = self.issuer.is_none() || claims.iss == self.issuer;
        // A token for somebody else is not for us, also when the file names no audience.
        let is_for_us = match &self.audience {
            Some(audience) => match &claims.aud {
                Listed::List(list) => list.contains(audience),
                Listed::One(one) => one == audience,
            },
            None => matches!(&claims.aud, Listed::List(list) if list.is_empty()),
        };
        (is_now && is_issuers && is_for_us).then_some(claims)
    }
}

fn issuer(entry: JwtEntry) -> Result<Issuer, String> {
    use Algorithm::*;
    let wants = |what: &str| format!("jwt: {:?} needs \"{what}\"", entry.algorithm);
    let pem = |parse: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>| {
        let text = entry.public_key.as_ref().ok_or_else(|| wants("public_key"))?;
        parse(text.as_bytes()).map_err(|error| format!("jwt: \"public_key\" is no such key in PEM: {error}"))
    };
    let key = match entry.algorithm {
        HS256 | HS384 | HS512 => {
            let secret = entry.secret.as_ref().ok_or_else(|| wants("secret"))?;
            if secret.len() < 32 {
                return Err("jwt: \"secret\" has at least 32 characters".into());
            }
            DecodingKey::from_secret(secret.as_bytes())
        }
        RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => pem(DecodingKey::from_rsa_pem)?,
        ES256 | ES384 => pem(DecodingKey::from_ec_pem)?,
        EdDSA => pem(DecodingKey::from_ed_pem)?,
    };
    Ok(Issuer { algorithm: entry.algorithm, key, issuer: entry.issuer, audience: entry.audience })
}

/// The token of a request: a bearer in the header, or, where browsers can set no header, `access_token` in the query.
pub fn token<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    if let Some(header) = headers.get(AUTHORIZATION) {
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    // Keys and tokens are made of characters that need no escape here.
    query?.split('&').find_map(|pair| pair.strip_prefix("access_token="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(granted: &str, wanted: &str) -> bool {
        covers(&Pattern::parse(granted).unwrap(), wanted)
    }

    #[test]
    fn a_grant_covers_what_it_matches_and_no_pattern_that_matches_more() {
        for (granted, wanted) in [
            ("+", "a"),
            ("+", "a.b"),
            ("+", "+"),
            ("+", "=.x"),
            ("+", "a.+"),
            ("news.=", "news.sports"),
            ("news.=", "news.="),
            ("news.=", "news.s="),
            ("news.+", "news.=.x"),
            ("news.+", "news.+"),
            ("=.x", "=.x"),
            ("a=b", "a=b"),
            ("a=b", "axb"),
        ] {
            assert!(covered(granted, wanted), "{granted} {wanted}");
        }
        for (granted, wanted) in [
            ("a", "b"),
            ("=", "+"),
            ("=", "a.b"),
            ("=", "=.="),
            ("news.=", "news.+"),
            ("news.+", "+"),
            ("news.+", "news"),
            ("news.x", "news.="),
            ("+.x", "+"),
            ("+", "a..="),
            ("+", "=."),
            ("=.=", ".="),
            ("a=b", "="),
        ] {
            assert!(!covered(granted, wanted), "{granted} {wanted}");
        }
    }

    const SECRET: &str = "a secret of at least thirty-two characters";

    fn auth(json: &str) -> Result<Auth, String> {
        Auth::new(serde_json::from_str(json).map_err(|error| error.to_string())?)
    }

    fn signed(claims: serde_json::Value, secret: &str) -> String {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Default::default(), &claims, &key).unwrap()
    }

    #[test]
    fn tokens_grant_their_claims_until_they_expire() {
        let auth = auth(&format!(r#"{{"jwt":{{"algorithm":"HS256","secret":"{SECRET}"}}}}"#)).unwrap();
        let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
        let claims = serde_json::json!({"exp": later, "pub": ["a"], "sub": ["b.="]});
        let grants = auth.grants(&signed(claims.clone(), SECRET)).unwrap();
        assert!(grants.may_publish("a") && !grants.may_publish("b.x"));
        assert!(grants.may_subscribe("b.x") && !grants.may_subscribe("a"));
        assert!(grants.remaining().is_some_and(|left| left > Duration::from_secs(3000)));

        assert!(auth.grants(&signed(claims, "another secret of thirty-two characters")).is_none());
        let refused = [
            serde_json::json!({"exp": later - 7200, "sub": ["+"]}),
            serde_json::json!({"sub": ["+"]}),
            serde_json::json!({"exp": later, "nbf": later - 1800, "sub": ["+"]}),
            serde_json::json!({"exp": later, "aud": "another service", "sub": ["+"]}),
            serde_json::json!({"exp": later, "sub": ["two==wildcards"]}),
        ];
        for claims in refused {
            assert!(auth.grants(&signed(claims.clone(), SECRET)).is_none(), "{claims}");
        }
        // alg: none, unsigned.
        assert!(auth.grants("eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTksInN1YiI6WyIrIl19.").is_none());
    }

    #[test]
    fn a_subject_is_no_grant() {
        let auth = auth(&format!(r#"{{"jwt":{{"algorithm":"HS256","secret":"{SECRET}"}}}}"#)).unwrap();
        let grants =
            auth.grants(&signed(serde_json::json!({"exp": 9_999_999_999u64, "sub": "alice"}), SECRET)).unwrap();
        assert!(!grants.may_subscribe("alice") && !grants.may_publish("alice"));
    }

    #[test]
    fn keys_grant_what_the_file_says() {
        let auth = auth(r#"{"keys":[{"key":"0123456789abcdef","sub":["+"]}]}"#).unwrap();
        let grants = auth.grants("0123456789abcdef").unwrap();
        assert!(grants.may_subscribe("x.y") && !grants.may_publish("x"));
        assert!(auth.grants("0123456789abcdeX").is_none() && auth.grants("").is_none());
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused() {
        for file in [
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"key":"short","sub":["+"]}]}"#,
            r#"{"keys":[{"key":"0123456789 abcdef","sub":["+"]}]}"#,
            r#"{"keys":[{"key":"0123456789abcdef","sub":["a b"]}]}"#,
            r#"{"keys":[{"key":"0123456789abcdef","subscribe":["+"]}]}"#,
            r#"{"jwt":{"algorithm":"HS256"}}"#,
            r#"{"jwt":{"algorithm":"HS256","secret":"short"}}"#,
            r#"{"jwt":{"algorithm":"RS256","public_key":"nonsense"}}"#,
            r#"{"jwt":{"algorithm":"none","secret":"nonsense"}}"#,
        ] {
            assert!(auth(file).is_err(), "{file}");
        }
    }
}
