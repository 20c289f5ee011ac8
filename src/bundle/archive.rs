//! The roles and playbooks of this program, packed so that the same files give the same bytes on every machine.
//!
//! What is in them is ansible's matter; nothing here reads it.

use std::{collections::BTreeMap, io::Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, GzBuilder};
use include_dir::{Dir, include_dir};

static ANSIBLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/ansible");
static PLAYBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");

pub(super) const STARTUP_SCRIPT: &str = include_str!("../../ansible/startup.sh");

/// Every file by its path in the archive, in order.
pub(super) fn files() -> BTreeMap<String, &'static [u8]> {
    let mut files = BTreeMap::new();
    for (name, folder) in [("ansible", &ANSIBLE), ("playbooks", &PLAYBOOKS)] {
        collect(name, folder, &mut files);
    }
    // It travels as a value of its own: the machine runs it before there is anything to unpack.
    files.remove("ansible/startup.sh");
    files
}

fn collect(name: &str, folder: &Dir<'static>, files: &mut BTreeMap<String, &'static [u8]>) {
    for file in folder.files() {
        files.insert(format!("{name}/{}", file.path().display()), file.contents());
    }
    for inner in folder.dirs() {
        collect(name, inner, files);
    }
}

/// The archive as metadata carries it: tar, gzip, base64.
pub(super) fn packed() -> String {
    let mut archive = tar::Builder::new(GzBuilder::new().mtime(0).write(Vec::new(), Compression::best()));
    for (path, content) in files() {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, path, content).expect("memory takes every byte");
    }
    let mut gzip = archive.into_inner().expect("memory takes every byte");
    gzip.flush().expect("memory takes every byte");
    BASE64_STANDARD.encode(gzip.finish().expect("memory takes every byte"))
}
