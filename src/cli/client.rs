//! Asks a running Muster over HTTP, for commands that are answered by it.
//!
//! One question, one answer; what the other side refuses is told in its own words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::{ConfigFile, Failure};

/// The time to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// The time for a whole exchange; the other side takes 30 s at most by default.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// Where a running Muster is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Api {
    #[command(flatten)]
    config: ConfigFile,
    /// The running Muster, such as http://127.0.0.1:8080; without it, `api.listen` of the config.
    #[arg(long, value_name = "URL")]
    api: Option<Url>,
}

impl Api {
    /// Asks for the JSON at a path, with a query.
    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let mut url = self.base()?;
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (status, bytes) = runtime.map_err(Failure::other)?.block_on(exchange(&url))?;
        let body: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::other(format!("{url}: {status}, and no JSON ({error}); is that Muster?"))
        })?;
        if status.is_success() {
            return Ok(body);
        }
        let message = body["error"]["message"].as_str().unwrap_or("no reason was given");
        if status == reqwest::StatusCode::BAD_REQUEST {
            return Err(Failure::usage(message));
        }
        Err(Failure::other(format!("{url}: {status}: {message}")))
    }

    fn base(&self) -> Result<Url, Failure> {
        if let Some(url) = &self.api {
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                let message = format!("--api {url}: an address begins with http:// or https://");
                return Err(Failure::usage(message));
            }
            return Ok(url.clone());
        }
        let listen = reachable(self.config.load()?.api().listen);
        Url::parse(&format!("http://{listen}")).map_err(Failure::other)
    }
}

/// Where one asks what listens on every address of this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn exchange(url: &Url) -> Result<(reqwest::StatusCode, Vec<u8>), Failure> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        // The daemon is asked straight, whatever the environment says of proxies.
        .no_proxy()
        .build()
        .map_err(Failure::other)?;
    let failed = |error: reqwest::Error| {
        let why = if error.is_connect() {
            "cannot connect; is `muster run` there, with the stage `api`? --api names another one"
        } else if error.is_timeout() {
            "no answer in time"
        } else {
            "the answer broke off"
        };
        Failure::other(format!("{url}: {why} ({})", error.without_url()))
    };
    let mut response = client.get(url.clone()).send().await.map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > ANSWER_MAX {
            let message = format!("{url}: more than {} MiB of answer", ANSWER_MAX >> 20);
            return Err(Failure::other(message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((response.status(), bytes))
}
