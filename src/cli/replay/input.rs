//! Files that `replay` reads: plain or `.gz`, as they are read or whole in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::about;
use crate::cli::Failure;

/// The most that is held in memory, unpacked, in bytes.
pub(in crate::cli) const MEMORY_MAX: u64 = 4 << 30;

/// Opens a file, or standard input for `-`.
pub(in crate::cli) fn open(path: &Path) -> Result<(Box<dyn BufRead>, ProgressBar), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), ProgressBar::hidden()));
    }
    let file = File::open(path).map_err(|error| about(path, &error))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let progress = progress(length);
    let raw = BufReader::with_capacity(1 << 20, progress.wrap_read(file));
    let gz = path.extension().is_some_and(|extension| extension == "gz");
    let read: Box<dyn Read> = if gz { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    Ok((Box::new(BufReader::with_capacity(1 << 20, read)), progress))
}

/// Reads all of a file; refuses one that is longer than `most` when unpacked.
pub(in crate::cli) fn whole(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let (input, progress) = open(path)?;
    let mut bytes = Vec::new();
    let read = input.take(most.saturating_add(1)).read_to_end(&mut bytes);
    progress.finish_and_clear();
    let read = read.map_err(|error| about(path, &error))?;
    if u64::try_from(read).is_ok_and(|read| read > most) {
        return Err(Failure::other(format!(
            "{}: more than {most} bytes unpacked, which is the most that is held in memory; give a \
             part of it",
            path.display()
        )));
    }
    Ok(bytes)
}

fn progress(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("events.jsonl");
        std::fs::write(&file, "12345").expect("a file");
        assert_eq!(whole(&file, 5).expect("it fits"), b"12345");
        let refused = whole(&file, 4).expect_err("it does not fit").message;
        assert!(refused.contains("events.jsonl: more than 4 bytes unpacked"), "{refused}");
    }
}
