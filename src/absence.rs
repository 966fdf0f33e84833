//! What watches Muster itself: whether collect reads what is sent, how far it is behind, and the
//! heartbeat by which somebody outside notices that Muster is silent.
//!
//! `watch` says in correlate's log how collect is, and raises alerts about lag; `outwards` sends the
//! own heartbeat. Which silence is a problem is correlate's decision, by its log.

use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::model::Span;

pub mod outwards;
pub mod watch;

/// The most that is read of a file that holds the address, in bytes.
const FILE_BYTES_MAX: u64 = 4_096;

/// Muster's own heartbeat.
#[derive(Clone, PartialEq, Eq)]
pub struct Outwards {
    /// Where it goes.
    pub target: Target,
    /// How often it is sent.
    pub every: Span,
    /// How long the whole exchange may take, and how long a probe may be on its way.
    pub timeout: Span,
    /// How it is asked for.
    pub method: Method,
}

impl std::fmt::Debug for Outwards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, every, timeout, method } = self;
        let target = match target {
            Target::Url(_) => "***",
            Target::File(_) => "a file",
        };
        write!(f, "Outwards {{ {target}, every {every}, timeout {timeout}, {method:?} }}")
    }
}

/// An address; mostly it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// As it is.
    Url(Box<str>),
    /// In a file, which is read anew each time.
    File(PathBuf),
}

/// How the address is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST, without a body.
    Post,
    /// HEAD.
    Head,
}

impl Target {
    /// Whether a text is an address.
    ///
    /// # Errors
    /// Says what is wrong with it, without showing it.
    pub fn check(text: &str) -> Result<(), String> {
        parse(text).map(drop)
    }

    /// The address.
    ///
    /// # Errors
    /// Says what is wrong with the file, or with what is in it.
    pub fn read(&self) -> Result<Url, String> {
        match self {
            Self::Url(url) => parse(url),
            Self::File(path) => parse(first_line(path)?.trim()),
        }
    }
}

fn first_line(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text)
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("holds no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("begins with neither http nor https".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    Ok(url)
}
