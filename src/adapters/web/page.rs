//! The status page: one table, no script, readable on a phone.

use std::fmt::Write as _;

use crate::{
    domain::{clock, start_word},
    runtime::status::Status,
};

const STYLE: &str = "body{font:15px system-ui,sans-serif;margin:1rem;max-width:60rem}\
h1{font-size:1.2rem}article{border-top:1px solid #8886;padding:.6rem 0}b.phase{padding:.1rem .4rem;border-radius:.3rem;\
background:#8883}dl{margin:.3rem 0}dt{font-weight:600}dd{margin:0 0 .2rem 1rem}";

/// The page. Everything from outside is escaped.
pub(super) fn render(status: &Status) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <meta http-equiv=refresh content=10><title>failover: {site}</title><style>{STYLE}</style>\
         <h1>{site}: {mode}, chain {chain}</h1><p>{at}{waits}</p>",
        site = escape(&status.site),
        mode = escape(&status.mode),
        chain = escape(&status.chain),
        at = clock(status.at),
        waits = if status.holds_lease { "" } else { ", seen by a process that waits for the lease" },
    );
    for validator in &status.validators {
        let _ = write!(
            page,
            "<article><b>{}</b> <b class=phase>{}</b><p>{}</p><dl>",
            validator.name,
            escape(&validator.phase),
            escape(&validator.reason)
        );
        for signal in &validator.signals {
            let _ = write!(
                page,
                "<dt>{}: {}</dt><dd>{}</dd>",
                escape(&signal.source),
                escape(&signal.verdict),
                escape(&signal.why)
            );
        }
        if let Some(standby) = &validator.standby {
            let simulated = if standby.simulated { " (simulated)" } else { "" };
            let _ = write!(page, "<dt>standby{simulated}: {}</dt>", escape(&standby.instance.to_string()));
            let progress = standby.progress.as_ref().map(|progress| progress.lines(status.at));
            let starting = standby.starting.as_deref().map(start_word);
            for line in progress.unwrap_or_else(|| vec!["no report".into()]).into_iter().chain(starting) {
                let _ = write!(page, "<dd>{}</dd>", escape(&line));
            }
            if let Some(stuck) = &standby.stuck {
                let _ = write!(page, "<dd><b>stuck</b>: {}; {}</dd>", escape(&stuck.why), escape(&stuck.advice));
            }
            let _ = write!(page, "<dd>stops itself {}</dd>", clock(standby.fuse_at));
        }
        page.push_str("</dl></article>");
    }
    for line in status.unreadable.iter().chain(&status.warnings) {
        let _ = write!(page, "<p>{}</p>", escape(line));
    }
    page.push_str("</html>\n");
    page
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_reports_cannot_become_markup() {
        assert_eq!(escape("<script>alert('x')&\""), "&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;");
    }
}
