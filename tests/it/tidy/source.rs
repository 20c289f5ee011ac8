//! A source file as the rules see it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use super::paths;

pub struct Source {
    /// From the root of the checkout: `src/domain/time.rs`.
    pub name: String,
    pub lines: usize,
    /// Without comments and the contents of strings, and up to the file's own tests.
    code: String,
    /// With everything.
    pub text: String,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        let mut code = paths::blank(text);
        code.truncate(code.find("\n#[cfg(test)]\nmod tests {").unwrap_or(code.len()));
        Self { name: name.to_owned(), lines: text.lines().count(), code, text: text.to_owned() }
    }

    /// A file of nothing but tests. It may compare with whatever it likes.
    pub fn is_test(&self) -> bool {
        self.name.ends_with("/tests.rs") || self.name.contains("/tests/")
    }

    /// `src/domain/chain/time.rs` is `["domain", "chain", "time"]`.
    pub fn module(&self) -> Vec<String> {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').map(str::to_owned).collect()
    }

    /// Every path it names, from the root of the crate or from a crate's name.
    pub fn imports(&self) -> BTreeSet<String> {
        paths::named(&self.code).into_iter().filter_map(|path| self.absolute(path)).collect()
    }

    fn absolute(&self, path: Vec<String>) -> Option<String> {
        let up = path.iter().take_while(|part| *part == "super" || *part == "self").count();
        if up == 0 {
            return Some(path.join("::"));
        }
        let levels = path.iter().take(up).filter(|part| *part == "super").count();
        let mut whole = vec!["crate".to_owned()];
        let module = self.module();
        whole.extend_from_slice(&module[..module.len().checked_sub(levels)?]);
        whole.extend_from_slice(&path[up..]);
        Some(whole.join("::"))
    }

    /// Whether it calls this macro, written with its `!`.
    pub fn calls(&self, name: &str) -> bool {
        self.code
            .match_indices(name)
            .any(|(at, _)| !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    }

    /// The types and traits that it exports.
    pub fn exported(&self) -> Vec<String> {
        let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
        let lines = self.code.lines().map(str::trim_start);
        let named = lines.filter_map(|line| kinds.iter().find_map(|kind| line.strip_prefix(kind)));
        named.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
    }
}

/// Every Rust file of the checkout whose name begins like this, in the order of their names.
pub fn tree(prefix: &str) -> &'static [Source] {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut open: Vec<PathBuf> = ["benches", "src", "tests"].iter().map(|place| root.join(place)).collect();
        let mut found = Vec::new();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.push(Source::new(name, &fs::read_to_string(&path).unwrap()));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    });
    let from = ALL.partition_point(|source| source.name.as_str() < prefix);
    let found = &ALL[from..];
    let found = &found[..found.partition_point(|source| source.name.starts_with(prefix))];
    assert!(!found.is_empty(), "nothing to read at {prefix:?}");
    found
}

/// The crates that the package depends on, as they are written in code.
pub fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    let names: BTreeSet<_> =
        names.map(|(name, _)| name.replace('-', "_")).filter(|name| !name.starts_with('#')).collect();
    assert!(names.contains("tokio"), "the list of dependencies was not found");
    names
}
