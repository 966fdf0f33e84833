//! Where payloads wait that could not be sent: a directory, for any number of publishers at once.
//!
//! A file a payload, named by a number that grows; what is in the directory under its last name was
//! synced to disk. The lock `lock` is held while a payload is put in, `sending` by the one that
//! sends, so that the order is kept. The oldest stay: what has no room is not taken. What the other
//! side refuses lies in `refused/`, under the same bound.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Stopwatch;

/// The least that a payload counts for: what a file takes on disk. So the bound also bounds the
/// number of files.
const FILE_BYTES: u64 = 4_096;
/// How long the lock of the directory is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(5);
const WAITING: &str = "payload";
const UNFINISHED: &str = "new";
const REFUSED: &str = "refused";

/// A payload, with what it takes to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// What it says beside its bytes.
    pub(super) head: Head,
    /// The bytes.
    pub(super) payload: Vec<u8>,
}

/// The first line of a file. Never a secret: those are given anew with each call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The source.
    pub(super) source: String,
    /// Whether it is one of events that name their source themselves.
    pub(super) canonical: bool,
    /// The topic on Kafka, where it was given.
    pub(super) topic: Option<String>,
    /// The key on Kafka.
    pub(super) key: Option<String>,
    /// Headers that belong to it.
    pub(super) headers: Vec<(String, String)>,
    /// When it was published, in milliseconds since 1970.
    pub(super) at: i64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    bytes: usize,
    sha256: String,
    #[serde(flatten)]
    head: Head,
}

/// Why a payload was not put in.
#[derive(Debug)]
pub(super) enum NotKept {
    /// No room.
    Full {
        /// How many payloads wait.
        waiting: usize,
        /// How many bytes they take.
        bytes: u64,
    },
    /// The disk says no.
    Broken(io::Error),
}

/// What became of one that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// It lies here.
    Kept(PathBuf),
    /// There is no room for refused ones either.
    Dropped,
}

/// A directory of payloads.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    max: u64,
}

impl Spool {
    /// Opens or makes a directory that may hold so many bytes.
    pub(super) fn open(directory: &Path, max: u64) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let is_new = !directory.exists();
        builder.create(directory.join(REFUSED))?;
        if let Some(parent) = directory.parent().filter(|_| is_new) {
            // What is synced within it must be found again.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { directory: directory.to_owned(), max })
    }

    /// Puts a payload behind all others; it is on disk then.
    pub(super) fn add(&self, item: &Item) -> Result<PathBuf, NotKept> {
        let _lock = self.lock().map_err(NotKept::Broken)?;
        let (waiting, bytes) = self.list(&self.directory).map_err(NotKept::Broken)?;
        let written = encode(item).map_err(NotKept::Broken)?;
        if bytes + size(written.len() as u64) > self.max {
            return Err(NotKept::Full { waiting: waiting.len(), bytes });
        }
        let last = waiting.last().and_then(|path| number(path)).unwrap_or_default();
        self.write(last + 1, &written).map_err(NotKept::Broken)
    }

    fn write(&self, number: u64, bytes: &[u8]) -> io::Result<PathBuf> {
        // Whoever is refused keeps his name beside those that come after him under the same number.
        let name = format!("{number:020}-{:08x}", fastrand::u32(..));
        let unfinished = self.directory.join(&name).with_extension(UNFINISHED);
        let path = unfinished.with_extension(WAITING);
        let done = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.directory)?.sync_all()
        })();
        if done.is_err() {
            // Nobody was told that it is kept; what cannot be removed is not sent, either.
            drop(fs::remove_file(&unfinished));
        }
        done.map(|()| path)
    }

    /// Those that wait, oldest first. Removes what a publisher that was killed did not finish, and
    /// says how many that were.
    pub(super) fn waiting(&self) -> io::Result<(Vec<PathBuf>, usize)> {
        let _lock = self.lock()?;
        let mut unfinished = 0;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            // Under the lock nobody is writing.
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                fs::remove_file(path)?;
                unfinished += 1;
            }
        }
        Ok((self.list(&self.directory)?.0, unfinished))
    }

    /// The right to send; none while another one has it.
    pub(super) fn sending(&self) -> io::Result<Option<File>> {
        let file = self.open_lock("sending")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Reads one that waits; none where it is gone.
    ///
    /// # Errors
    /// The inner one says why it is not whole.
    pub(super) fn read(&self, path: &Path) -> io::Result<Option<Result<Item, String>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(decode(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets one that was sent.
    pub(super) fn sent(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Puts one aside that will never be taken.
    pub(super) fn refuse(&self, path: &Path) -> io::Result<Aside> {
        let refused = self.directory.join(REFUSED);
        let (_, bytes) = self.list(&refused)?;
        if bytes + size(fs::metadata(path)?.len()) > self.max {
            fs::remove_file(path)?;
            return Ok(Aside::Dropped);
        }
        let to = self.aside(path);
        fs::rename(path, &to)?;
        File::open(&refused)?.sync_all()?;
        Ok(Aside::Kept(to))
    }

    /// Where one lies that was put aside.
    pub(super) fn aside(&self, path: &Path) -> PathBuf {
        self.directory.join(REFUSED).join(path.file_name().unwrap_or_default())
    }

    fn lock(&self) -> io::Result<File> {
        let file = self.open_lock("lock")?;
        let begun = Stopwatch::start();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                // Held for a listing and a sync; longer only by a publisher that is stopped.
                Err(TryLockError::WouldBlock) if begun.elapsed() > LOCK_PATIENCE => {
                    let why = "another publisher holds `lock` and does not let go of it";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(MOMENT),
            }
        }
    }

    fn open_lock(&self, name: &str) -> io::Result<File> {
        let path = self.directory.join(name);
        OpenOptions::new().create(true).truncate(false).write(true).open(path)
    }

    /// The payloads in a directory, by their numbers, and what they count for together.
    fn list(&self, directory: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
        let (mut paths, mut bytes) = (Vec::new(), 0);
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == WAITING) {
                match entry.metadata() {
                    Ok(data) => bytes += size(data.len()),
                    // Sent in this moment.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                paths.push(path);
            }
        }
        paths.sort();
        Ok((paths, bytes))
    }
}

fn size(bytes: u64) -> u64 {
    bytes.max(FILE_BYTES)
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

fn encode(item: &Item) -> io::Result<Vec<u8>> {
    let line = Line {
        version: 1,
        bytes: item.payload.len(),
        sha256: sum(&item.payload),
        head: item.head.clone(),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&item.payload);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Item, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no whole first line")?;
    let (line, payload) = (&bytes[..end], &bytes[end + 1..]);
    let Line { version, bytes, sha256, head } =
        serde_json::from_slice(line).map_err(|error| format!("its first line: {error}"))?;
    if version != 1 {
        return Err(format!("it is of version {version}, which another `muster` wrote"));
    }
    if bytes != payload.len() || sha256 != sum(payload) {
        return Err("it is not what was written".to_owned());
    }
    Ok(Item { head, payload: payload.to_vec() })
}

fn sum(payload: &[u8]) -> String {
    Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        let head = Head {
            source: "nagios".to_owned(),
            canonical: false,
            topic: None,
            key: Some("web-1".to_owned()),
            headers: vec![("ce-type".to_owned(), "ä".to_owned())],
            at: 1_763_913_600_123,
        };
        Item { head, payload: text.as_bytes().to_vec() }
    }

    fn texts(spool: &Spool) -> Vec<String> {
        let (paths, _) = spool.waiting().expect("it is listed");
        let read = |path: &PathBuf| match spool.read(path).expect("it can be read") {
            Some(Ok(item)) => String::from_utf8(item.payload).expect("text"),
            other => format!("{other:?}"),
        };
        paths.iter().map(read).collect()
    }

    #[test]
    fn the_order_is_kept_and_the_oldest_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(directory.path(), 3 * FILE_BYTES).expect("it is made");
        let all: Vec<PathBuf> =
            ["a", "b\n{}", "c"].iter().map(|text| spool.add(&item(text)).expect("room")).collect();
        assert_eq!(texts(&spool), ["a", "b\n{}", "c"]);
        let full = spool.add(&item("d")).expect_err("no room");
        assert!(matches!(full, NotKept::Full { waiting: 3, bytes: 12_288 }), "{full:?}");
        assert_eq!(texts(&spool), ["a", "b\n{}", "c"]);
        spool.sent(&all[0]).expect("it is there");
        spool.add(&item("d")).expect("room");
        assert_eq!(texts(&spool), ["b\n{}", "c", "d"]);
        assert_eq!(spool.read(&all[0]).expect("no error"), None, "it is gone");
        assert_eq!(spool.read(&all[1]).expect("it is there"), Some(Ok(item("b\n{}"))));
    }

    #[test]
    fn what_is_torn_is_known_and_what_is_unfinished_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(directory.path(), 1 << 20).expect("it is made");
        let path = spool.add(&item("whole")).expect("room");
        let bytes = fs::read(&path).expect("it is there");
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "torn at {length}");
        }
        let mut other = bytes.clone();
        *other.last_mut().expect("bytes") ^= 1;
        assert!(decode(&other).is_err());
        assert_eq!(decode(&bytes), Ok(item("whole")));
        fs::write(path.with_extension(UNFINISHED), b"{").expect("written");
        let (paths, unfinished) = spool.waiting().expect("it is listed");
        assert_eq!((paths.len(), unfinished), (1, 1));
        assert_eq!(spool.waiting().expect("it is listed").1, 0);
    }

    #[test]
    fn what_is_refused_is_put_aside_within_the_bound() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(directory.path(), FILE_BYTES).expect("it is made");
        let first = spool.add(&item("a")).expect("room");
        let Aside::Kept(kept) = spool.refuse(&first).expect("it is there") else {
            panic!("there was room");
        };
        let second = spool.add(&item("b")).expect("room");
        assert_eq!(spool.refuse(&second).expect("it is there"), Aside::Dropped);
        assert!(texts(&spool).is_empty());
        assert!(kept.exists() && !second.exists());
    }

    #[test]
    fn a_publisher_that_is_stopped_holds_nobody_up_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(directory.path(), 1 << 20).expect("it is made");
        let held = spool.lock().expect("a lock");
        let broken = spool.add(&item("a")).expect_err("it is held");
        assert!(matches!(&broken, NotKept::Broken(why) if why.kind() == io::ErrorKind::TimedOut));
        drop(held);
        spool.add(&item("a")).expect("it is free");
    }

    #[test]
    fn one_at_a_time_sends() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(directory.path(), 1 << 20).expect("it is made");
        let first = spool.sending().expect("a lock");
        assert!(first.is_some() && spool.sending().expect("no error").is_none());
        drop(first);
        assert!(spool.sending().expect("no error").is_some());
    }
}
