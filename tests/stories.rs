//! The stories of `failover sandbox`, silently: the real program between fake far ends, from the plug to the bill.
//!
//! A story waits nearly always, so several run at a time; their chain has slots of a quarter of a second.

#![cfg(feature = "sandbox")]
#![allow(clippy::disallowed_methods, reason = "the far ends are the test's own")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use failover::sandbox::story::{self, Narrator, STORIES};

/// One test for each story, so that progress is seen and a failure names its story.
macro_rules! stories {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                ends_as_it_has_to($name);
            }
        )*

        #[test]
        fn every_story_has_a_test() {
            let names: Vec<_> = STORIES.iter().map(|story| story.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

stories! {
    outage: "outage",
    lost_reply: "lost-reply",
    chain_sick: "chain-sick",
    flap: "flap",
    watcher_killed: "watcher-killed",
}

fn ends_as_it_has_to(name: &str) {
    failover::adapters::http::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_failover"));
    let stage = runtime.block_on(story::play(name, program, &Narrator::silent()));
    assert!(stage.is_ok(), "{name}: {:#}", stage.err().unwrap());
}
