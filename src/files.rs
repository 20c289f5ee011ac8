//! Files, read up to a limit: a path that somebody wrote may name a log, a disk or `/dev/zero`.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// For what people write or issue: a configuration, certificates, a list of keys, a scenario.
pub const MOST: u64 = 4 << 20;

/// All of it.
///
/// # Errors
/// As [`File::open`] and reading; [`io::ErrorKind::FileTooLarge`] when it has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_from(File::open(path)?, most)
}

/// The same as text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text(read(path, most)?)
}

/// What comes from something that is open, to its end.
///
/// # Errors
/// As [`read_text`].
pub fn read_text_from(reader: impl Read, most: u64) -> io::Result<String> {
    text(read_from(reader, most)?)
}

/// At most this much of its beginning.
///
/// # Errors
/// As [`File::open`] and reading.
pub fn beginning(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    beginning_of(File::open(path)?, most)
}

fn read_from(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let bytes = beginning_of(reader, most.saturating_add(1))?;
    if bytes.len() as u64 > most {
        let why = format!("it is larger than {most} bytes; name the right file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the one place, below a limit")]
fn beginning_of(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_never_ends_is_refused_with_the_limit() {
        let error = read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1000 bytes; name the right file");
        assert_eq!(beginning(Path::new("/dev/zero"), 1000).unwrap().len(), 1000);
    }

    #[test]
    fn what_has_just_the_limit_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), b"12345").unwrap();
        assert_eq!(read_text(file.path(), 5).unwrap(), "12345");
        assert!(read_text(file.path(), 4).is_err());
    }
}
