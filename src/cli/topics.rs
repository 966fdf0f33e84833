//! `muster topics --create`: makes Muster's topics on Kafka.

use std::process::ExitCode;

use super::Failure;
use crate::config::{Config, JournalSettings};
use crate::kafka;

/// Makes what is missing and prints a line a topic.
#[expect(clippy::print_stdout, reason = "the answer to the command")]
pub(super) fn create(config: &Config) -> Result<ExitCode, Failure> {
    let JournalSettings::Kafka(settings) = config.journal() else {
        return Err(Failure::usage(
            "journal.kind: sqlite: the embedded journal has no topics to make; set kind: kafka",
        ));
    };
    for line in kafka::create_topics(&settings).map_err(Failure::other)? {
        println!("{line}");
    }
    // One on a cluster of its own is that cluster's owner's to make.
    if let Some(edges) = config.topology_topic().filter(|edges| edges.is_shared) {
        println!("{}", kafka::create_compacted(&settings, &edges.topic).map_err(Failure::other)?);
    }
    Ok(ExitCode::SUCCESS)
}
