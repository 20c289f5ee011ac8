//! What commands print, and the only place that does: see the rule in [`crate::domain`]'s `text`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the others have to use")]

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context as _, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    domain::{visible, visible_json, visible_line},
    files,
};

/// A line on standard output, by the rules of [`format!`].
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::line(&format!($($text)*)) };
}

/// A line on standard error, by the rules of [`format!`].
macro_rules! complain {
    ($($text:tt)*) => { $crate::cli::out::complaint(&format!($($text)*)) };
}

pub(crate) use {complain, say};

pub(crate) fn line(text: &str) {
    write(&mut io::stdout().lock(), &(visible(text) + "\n"));
}

/// Without a line end of its own.
pub(crate) fn text(text: &str) {
    write(&mut io::stdout().lock(), &visible(text));
}

pub(crate) fn complaint(text: &str) {
    // Nobody is left to be notified that nobody reads this.
    let _ = writeln!(io::stderr().lock(), "{}", visible(text));
}

pub(crate) fn json(value: &impl Serialize) -> serde_json::Result<()> {
    write(&mut io::stdout().lock(), &(visible_json(&serde_json::to_string_pretty(value)?) + "\n"));
    Ok(())
}

/// One value on one line, for what goes on and on.
pub(crate) fn json_line(value: &impl Serialize) -> serde_json::Result<()> {
    write(&mut io::stdout().lock(), &(visible_json(&serde_json::to_string(value)?) + "\n"));
    Ok(())
}

/// The same with each of its texts as one line, for what is laid out in lines.
pub(crate) fn lines_of<T: Serialize + DeserializeOwned>(value: &T) -> T {
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => *text = visible_line(text),
            Value::Array(values) => values.iter_mut().for_each(walk),
            Value::Object(values) => values.values_mut().for_each(walk),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut written = serde_json::to_value(value).expect("it is written as JSON elsewhere");
    walk(&mut written);
    serde_json::from_value(written).expect("names and numbers are lines already")
}

/// Whoever reads may have seen enough (`| head`): that is an end and no error.
fn write(out: &mut impl Write, text: &str) {
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            complaint(&format!("error: standard output cannot be written: {error}"));
            std::process::exit(1);
        }
        std::process::exit(128 + 13); // as if SIGPIPE had ended it, which Rust ignores
    }
}

/// The largest file that is compared with one that is to be written, in bytes.
const MAX_SAVED: u64 = 1 << 30;

/// Writes a new file. One that is there already with the same bytes is left, so that a command can be repeated.
pub(super) fn save(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = file.display();
    match File::create_new(file) {
        Ok(mut new) => {
            let written = new.write_all(bytes).and_then(|()| new.sync_all());
            written.with_context(|| format!("{name} cannot be written"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let there = files::read(file, MAX_SAVED).with_context(|| format!("{name} cannot be read"))?;
            ensure!(there == bytes, "{name} is there already and says something else: remove it, or write to another");
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("{name} cannot be written")),
    }
}
