//! `muster token`: makes a token for a sender, and the hash of it for the config.
//!
//! The token is printed once and kept nowhere. It has 32 hexadecimal digits, which fits wherever a
//! sender has a field for a key, and is as random as the system can make it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use super::Failure;
use crate::api::TokenHash;

/// 128 bits: nobody guesses them, and a plain hash of them gives nothing away.
const BYTES: usize = 16;
const RANDOM: &str = "/dev/urandom";

/// Makes and prints one.
pub(super) fn run() -> Result<ExitCode, Failure> {
    let mut bytes = [0; BYTES];
    File::open(RANDOM)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Failure::other(format!("{RANDOM}: {error}")))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut out = io::stdout().lock();
    let text = format!("token  {token}\nhash   {}\n", TokenHash::of(&token));
    // Nobody reads what we say: the pipe was closed.
    Ok(out.write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}
