//! `muster check`: says what is wrong with a config before it is put to use.
//!
//! Prints every broken rule as `key path: value: rule` and exits 64, or the warnings and a summary
//! of what is configured and exits 0. Never prints a secret.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config, ConfigError};

/// The config breaks a rule (as `EX_USAGE` of sysexits.h).
const BROKEN: u8 = 64;

/// Checks a config file, or the defaults where there is none, with the environment on top.
pub(super) fn run(path: Option<&Path>) -> ExitCode {
    let loaded = config::load(path);
    match report(path, &loaded, &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(code) => ExitCode::from(code),
        // Nobody reads what we say: the pipe was closed.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Good news to `out`, problems and warnings to `err`.
fn report(
    path: Option<&Path>,
    loaded: &Result<Config, ConfigError>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    let name = path.map_or("built-in config".to_owned(), |path| path.display().to_string());
    let (config, problems) = match loaded {
        Ok(config) => (Some(config), config.outside()),
        Err(ConfigError::Rules(problems)) => (None, problems.clone()),
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(BROKEN);
        }
    };
    for problem in &problems {
        writeln!(err, "{problem}")?;
    }
    for warning in config.map(Config::warnings).unwrap_or_default() {
        writeln!(err, "warning: {warning}")?;
    }
    match config {
        Some(config) if problems.is_empty() => {
            writeln!(out, "{name} is good")?;
            for line in config.summary() {
                writeln!(out, "  {line}")?;
            }
            Ok(0)
        }
        _ => {
            let count = problems.len();
            writeln!(err, "{name}: {count} {}", if count == 1 { "problem" } else { "problems" })?;
            Ok(BROKEN)
        }
    }
}
