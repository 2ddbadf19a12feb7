//! Which web pages may use the gateway.
//!
//! A browser lets any page connect to any WebSocket, also one of this machine, and send simple requests anywhere; it only says
//! from which page in `Origin`. So the origin has to be this gateway's own, or one that was allowed. And because a page's own
//! name can be made to lead here (DNS rebinding), a name in `Host` has to be one that was allowed.

#![forbid(unsafe_code)]

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};

/// What is allowed beside this gateway's own addresses.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Names, without ports.
    pub hosts: Vec<String>,
    /// Such as `https://example.com`.
    pub origins: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its `Host`.
    Host,
    /// Its `Origin`.
    Origin,
}

/// Checks `Host` and `Origin`.
pub fn check(headers: &HeaderMap, allowed: &Allowed) -> Result<(), Wrong> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).ok_or(Wrong::Host)?;
    let name = host_name(host).ok_or(Wrong::Host)?;
    let is_known = name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || allowed.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    if !is_known || hosts.next().is_some() {
        return Err(Wrong::Host);
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let origin = origin.to_str().map_err(|_| Wrong::Origin)?;
    let is_own = origin
        .split_once("://")
        .is_some_and(|(scheme, authority)| matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host));
    let is_allowed = allowed.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
    match (is_own || is_allowed) && origins.next().is_none() {
        true => Ok(()),
        false => Err(Wrong::Origin),
    }
}

/// The name in `name:port`.
fn host_name(host: &str) -> Option<&str> {
    let uri: Uri = host.parse().ok()?;
    // Nothing but an authority, and no user in it.
    let authority = uri.authority().filter(|authority| authority.as_str() == host)?;
    let start = host.get(..authority.host().len())?;
    (start == authority.host()).then_some(start)
}

/// Whether this can be an origin that a browser sends.
pub fn is_origin(text: &str) -> bool {
    let valid = |uri: Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| text.ends_with(authority.as_str()) && !text.contains('@'))
    };
    text.parse().is_ok_and(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(host: &str, origin: Option<&str>) -> Result<(), Wrong> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let allowed = Allowed { hosts: vec!["bus.example".into()], origins: vec!["https://app.example".into()] };
        check(&headers, &allowed)
    }

    #[test]
    fn hosts_are_addresses_localhost_or_allowed() {
        for host in
            ["127.0.0.1:8000", "127.0.0.1", "[::1]:8000", "localhost:8000", "LOCALHOST", "10.1.2.3", "bus.example:443"]
        {
            assert_eq!(checked(host, None), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "evil@localhost", "a b", "", "localhost/x", "127.0.0.1.nip.io"]
        {
            assert_eq!(checked(host, None), Err(Wrong::Host), "{host}");
        }
        assert_eq!(check(&HeaderMap::new(), &Allowed::default()), Err(Wrong::Host));
    }

    #[test]
    fn origins_are_the_gateway_s_own_or_allowed() {
        for origin in ["http://localhost:8000", "https://localhost:8000", "https://app.example"] {
            assert_eq!(checked("localhost:8000", Some(origin)), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "http://localhost",
            "http://localhost:9000",
            "http://127.0.0.1:8000",
            "http://evil.example",
            "http://app.example",
            "https://app.example.evil.example",
            "file://",
            "",
        ] {
            assert_eq!(checked("localhost:8000", Some(origin)), Err(Wrong::Origin), "{origin}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_else() {
        assert!(is_origin("https://a.example") && is_origin("http://localhost:8080"));
        for text in ["a.example", "https://", "https://a.example/", "ftp://a.example", "*", "https://u@a.example"] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
