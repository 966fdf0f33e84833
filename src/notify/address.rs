//! Where receivers live: web addresses that often hold a secret, and so are shown without it.

use std::fmt;

use reqwest::Url;

/// An http or https address of the config. Its path and query are never shown: those of hooks are
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads one.
    ///
    /// # Errors
    /// Says what is wrong, without showing more of it than host and port.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("is neither http nor https".to_owned());
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("names no host".to_owned());
        }
        Ok(Self(url))
    }

    /// The address, for the one place that must use it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// An address below this one, of path segments as they are; what they hold cannot lead elsewhere.
    #[must_use]
    pub fn below<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Scheme, host and port of a text that may be an address; the rest hidden.
    #[must_use]
    pub fn shown(text: &str) -> String {
        let Some((scheme, rest)) = text.split_once("://") else { return "***".to_owned() };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if rest.len() == host.len() { text.to_owned() } else { format!("{scheme}://{host}/***") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL has the slash at its end that the text may lack.
        let text = self.0.as_str();
        f.write_str(&Self::shown(match self.0.path() {
            "/" => text.strip_suffix('/').unwrap_or(text),
            _ => text,
        }))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_and_a_good_one_hidden() {
        for text in ["not a url", "ftp://example.org/x", "http://"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        let address = Address::parse("https://me:pw@hooks.example:8443/s3cret?k=v").expect("good");
        assert_eq!(
            format!("{address} {address:?}"),
            "https://hooks.example:8443/*** https://hooks.example:8443/***"
        );
    }

    #[test]
    fn what_goes_below_cannot_lead_elsewhere() {
        let base = Address::parse("https://api.example/v2").expect("good");
        assert_eq!(
            base.below(["alerts", "a/../b?c#d"]).as_str(),
            "https://api.example/v2/alerts/a%2F..%2Fb%3Fc%23d"
        );
        let slash = Address::parse("https://api.example/").expect("good");
        assert_eq!(slash.below(["alerts"]).as_str(), "https://api.example/alerts");
    }
}
