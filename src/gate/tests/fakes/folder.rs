//! The state folder of a gate in these tests.

use std::sync::{Arc, Mutex};

use crate::gate::{folder::Notes, state::GateMemory};

/// A state folder in memory, which survives its gate.
#[derive(Default)]
pub struct Folder {
    notes: Mutex<Notes>,
    pub written: Mutex<Vec<Notes>>,
    pub full: Mutex<bool>,
    pub watched: Mutex<Option<Watched>>,
}

/// Sees each write before it is there.
pub type Watched = Box<dyn Fn(&Notes) + Send>;

impl Folder {
    pub fn change(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap());
    }

    /// As after a boot of its machine.
    pub fn boot(&self) {
        self.change(|notes| notes.ran_up = notes.ran_up.take().map(|(_, up)| ("the boot before".into(), up)));
    }
}

impl GateMemory for Arc<Folder> {
    fn notes(&self) -> Notes {
        self.notes.lock().unwrap().clone()
    }

    fn write(&mut self, notes: &Notes) -> Result<(), String> {
        if *self.full.lock().unwrap() {
            return Err("no space left on device".into());
        }
        if let Some(watched) = &*self.watched.lock().unwrap() {
            watched(notes);
        }
        self.written.lock().unwrap().push(notes.clone());
        *self.notes.lock().unwrap() = notes.clone();
        Ok(())
    }
}
