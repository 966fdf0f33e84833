//! tmp
pub(super) fn run(_: Option<&std::path::Path>) -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
