//! The agent against a fake beacon node, execution client and metadata server, over HTTP; and the program itself.

mod faults;
mod generic;
mod machine;
mod process;
mod rig;
