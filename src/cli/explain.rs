//! `muster explain ID`: why the alerts of an incident are together, or why an alert is where it is.
//!
//! The running Muster explains; here its words are printed.

use std::io::{self, Write};
use std::process::ExitCode;

use reqwest::Method;

use super::Failure;
use super::client::{Api, Question};
use crate::api::path_segment;

/// What to explain.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// An incident (inc_…) or an alert (alr_…).
    id: String,
    #[command(flatten)]
    api: Api,
    /// How many alerts of an incident to explain, from 1 to 1000.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Go on after this alert, which the last answer named.
    #[arg(long, value_name = "ALERT")]
    after: Option<String>,
    /// Print the facts as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let Options { id, after, .. } = options;
    let (kind, mut query) = (if id.starts_with("alr_") { "alerts" } else { "incidents" }, vec![]);
    if kind == "incidents" {
        query.push(("limit", options.limit.to_string()));
        query.extend(after.iter().map(|after| ("cursor", after.clone())));
    }
    let path = format!("/v1/{kind}/{}/explain", path_segment(id));
    let answer = options.api.ask(&Question { method: Method::GET, path, query, body: None })?;
    let text = if options.json {
        format!("{answer:#}\n")
    } else {
        let text = answer["text"].as_str().unwrap_or_default();
        let next = answer["next"].as_str().map(|next| format!("Go on with --after {next}\n"));
        format!("{text}{}", next.unwrap_or_default())
    };
    let printed = io::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|error| Failure::other(format!("standard output: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
