//! Asks a running Muster over HTTP, for commands that are answered by it.
//!
//! One question, one answer; what the other side refuses is told in its own words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde_json::{Map, Value};

use super::{ConfigFile, Failure, run};
use crate::config::Config;

/// The time to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// The time for a whole exchange; the other side takes 30 s at most by default.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// Where the API is, unless `--api` says so.
const ENVIRONMENT: &str = "MUSTER_API";
const TOKEN_ENVIRONMENT: &str = "MUSTER_API_TOKEN_FILE";

/// Where a running Muster is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Api {
    #[command(flatten)]
    config: ConfigFile,
    /// The running Muster, such as http://127.0.0.1:8080; else the environment variable MUSTER_API,
    /// else the config's `api.listen`.
    #[arg(long, value_name = "URL", global = true)]
    api: Option<String>,
    /// A file with a token to show, for the source `muster` or for a proxy in front; else the one that
    /// the environment variable MUSTER_API_TOKEN_FILE names.
    #[arg(long, value_name = "FILE", global = true)]
    api_token_file: Option<PathBuf>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// GET asks, the others do something.
    pub(super) method: Method,
    /// Below the address.
    pub(super) path: String,
    /// Names and values.
    pub(super) query: Vec<(&'static str, String)>,
    /// As JSON; that of a command has a `request_id`.
    pub(super) body: Option<Map<String, Value>>,
}

impl Api {
    /// Asks; what is refused is an error: `Failure::usage` where the question was not understood.
    pub(super) fn ask(&self, question: &Question) -> Result<Value, Failure> {
        let (status, answer) = self.put(question)?;
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer)) }
    }

    /// Asks; gives the answer as it is.
    pub(super) fn put(&self, question: &Question) -> Result<(StatusCode, Value), Failure> {
        let mut url = self.base()?;
        let path = format!("{}{}", url.path().trim_end_matches('/'), question.path);
        url.set_path(&path);
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&question.query);
        }
        let token = self.token()?;
        let (status, bytes) = run::runtime()?.block_on(exchange(&url, question, token))?;
        let answer = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::other(format!("{url}: {status}, and no JSON ({error}); is that Muster?"))
        })?;
        Ok((status, answer))
    }

    /// The config that it may be found by.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        self.config.load()
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let given = std::env::var_os(TOKEN_ENVIRONMENT).map(PathBuf::from);
        let Some(path) = self.api_token_file.clone().or(given) else { return Ok(None) };
        let told = |why: &str| Failure::usage(format!("the token file {} {why}", path.display()));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| told(&format!("cannot be read: {error}")))?;
        match text.trim() {
            "" => Err(told("is empty")),
            token => Ok(Some(token.to_owned())),
        }
    }

    fn base(&self) -> Result<Url, Failure> {
        let given = self.api.clone().or_else(|| std::env::var(ENVIRONMENT).ok());
        let given = given.map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
        let Some(given) = given else {
            let listen = reachable(self.config.load()?.api().listen);
            return Url::parse(&format!("http://{listen}")).map_err(Failure::other);
        };
        let url = Url::parse(&given).ok();
        url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).ok_or_else(
            || {
                let example = "one looks like http://127.0.0.1:8080";
                Failure::usage(format!("--api: {given}: is no address; {example}"))
            },
        )
    }
}

/// Why something was refused, as the other side says.
pub(super) fn refused(status: StatusCode, answer: &Value) -> Failure {
    let word = |name: &str| answer["error"][name].as_str().unwrap_or("no reason given");
    let mut message = format!("{} ({})", word("message"), word("reason"));
    if let ("confirm", Some(count)) = (word("reason"), answer["count"].as_u64()) {
        message.push_str(&format!("; here that is --confirm {count}"));
    }
    match status {
        StatusCode::BAD_REQUEST => Failure::usage(message),
        _ => Failure::other(message),
    }
}

/// Where one asks what listens on every address of this machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn exchange(
    url: &Url,
    question: &Question,
    token: Option<String>,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        // The daemon is asked straight, whatever the environment says of proxies.
        .no_proxy()
        .build()
        .map_err(Failure::other)?;
    let request = question.body.as_ref().and_then(|body| body.get("request_id")?.as_str());
    let again = request.map_or(String::new(), |request| {
        format!(
            "; whether it was done is not known, to send it again safely add --request {request}"
        )
    });
    let failed = |error: reqwest::Error| {
        let why = if error.is_connect() {
            "cannot connect; is `muster run` there, with the stage `api`? --api names another one"
        } else if error.is_timeout() {
            "no answer in time"
        } else {
            "the answer broke off"
        };
        let doubt = if error.is_connect() { "" } else { again.as_str() };
        Failure::other(format!("{url}: {why} ({}){doubt}", error.without_url()))
    };
    let mut request = client.request(question.method.clone(), url.clone());
    if let Some(body) = &question.body {
        request = request.json(body);
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let mut response = request.send().await.map_err(failed)?;
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
