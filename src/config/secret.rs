//! Secrets: values that live in files and never in the configuration, in a log or in an error.
//!
//! It caches nothing: a secret is read when it is used, so a renewed one works without a restart.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::files;

/// Longer than any password or token, shorter than a mistake such as a log file.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret value. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for the one place that has to send or compare it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A file that holds one secret. The path is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

/// Why a secret cannot be used. It names the file and never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Missing, a folder, no permission.
    #[error("cannot read the secret file {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    /// Nothing in it but white space.
    #[error("the secret file {0} is empty")]
    Empty(PathBuf),
    /// More than one line, not text, or too long to be a secret.
    #[error("the secret file {0} has to hold one line of text")]
    NotALine(PathBuf),
}

impl SecretFile {
    /// Names a file; nothing is read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads it. A line break at its end is not part of the secret: every editor adds one.
    ///
    /// # Errors
    /// [`SecretError`] when there is no usable value.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let unreadable = |error| SecretError::Unreadable { path: self.0.clone(), error };
        let bytes = files::read(&self.0, MAX_BYTES).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => SecretError::NotALine(self.0.clone()),
            _ => unreadable(error),
        })?;
        let text = String::from_utf8(bytes).map_err(|_| SecretError::NotALine(self.0.clone()))?;
        let value = text.trim_end_matches(['\r', '\n']);
        if value.trim().is_empty() {
            return Err(SecretError::Empty(self.0.clone()));
        }
        if value.chars().any(char::is_control) {
            return Err(SecretError::NotALine(self.0.clone()));
        }
        Ok(Secret(value.to_owned()))
    }

    /// Whether every user of the machine may read it.
    #[must_use]
    pub fn is_world_readable(&self) -> bool {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(&self.0).is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        (folder, SecretFile::new(path))
    }

    #[test]
    fn a_secret_is_never_shown() {
        let (_folder, file) = file(b"hunter2\n");
        let secret = file.read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_with_its_path_and_without_its_content() {
        for content in [b"".as_slice(), b" \n", b"two\nlines", b"\xff\xfe", &[b'x'; 70_000]] {
            let (_folder, file) = file(content);
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
            assert!(!error.contains("two") && !error.contains("xxx"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing"), folder.path().to_owned()] {
            let error = SecretFile::new(&path).read().unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
