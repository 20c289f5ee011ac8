//! The agent against a fake beacon node, execution client and metadata server, over HTTP; and the program itself.

mod cardano;
mod clients;
#[path = "../common/cometbft.rs"]
mod comet;
mod cometbft;
mod faults;
mod generic;
mod machine;
#[path = "../common/pages.rs"]
mod pages;
mod process;
mod promotion;
mod rig;
