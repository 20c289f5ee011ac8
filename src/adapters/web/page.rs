//! The status page: one table, no script, readable on a phone. Everything in it is escaped by the template.

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Time, clock, start_word},
    runtime::status::{StandbyStatus, Status},
};

/// The digest of the page's one style sheet, by which a browser knows that it is ours: what a template has put into the
/// page by mistake is never taken for one.
pub(super) fn style_digest() -> String {
    let page = include_str!("../../../templates/status.html");
    let style = page.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    STANDARD.encode(Sha256::digest(style.map_or("", |(style, _)| style)))
}

#[derive(Template)]
#[template(path = "status.html")]
pub(super) struct Page<'a> {
    pub(super) status: &'a Status,
}

impl Page<'_> {
    fn clock(&self, at: &Time) -> String {
        clock(*at)
    }

    fn stops(&self, standby: &StandbyStatus) -> String {
        standby.expires_at.map_or_else(|| "never".to_owned(), clock)
    }

    fn lines(&self, standby: &StandbyStatus) -> Vec<String> {
        let progress = standby.progress.as_ref().map(|progress| progress.lines(self.status.at));
        let starting = standby.starting.as_deref().map(start_word);
        progress.unwrap_or_else(|| vec!["no report".into()]).into_iter().chain(starting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapters::web::metrics,
        domain::{hostile, visible, visible_html, visible_json},
    };

    #[test]
    fn what_a_machine_reports_cannot_become_markup() {
        let status = Status::saying("<script>alert('x')&\"");
        let page = Page { status: &status }.render().unwrap();
        assert!(!page.contains("script>") && !page.contains("alert('"), "{page}");
        assert!(page.matches("&#60;script&#62;alert(&#39;x&#39;)&#38;&#34;").count() >= 16, "{page}");
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert_eq!(style_digest(), STANDARD.encode(Sha256::digest(style)), "the style sheet is the same on every page");
        assert!(!page.contains("style="), "which the policy would not let a browser take");
        assert!(page.contains("1970-01-01 00:00:00 UTC, seen by a process that waits for the lease"), "{page}");
    }

    #[test]
    fn nothing_is_raw_on_the_page_in_its_json_and_in_the_metrics() {
        let status = Status::saying(&hostile::flood());
        let page = visible_html(&Page { status: &status }.render().unwrap());
        // A line end is white space there.
        hostile::assert_plain("page", &page.replace('\n', " "), "");
        assert!(!page.contains("<script>"));
        hostile::assert_plain("JSON", &visible_json(&serde_json::to_string(&status).unwrap()), "");
        hostile::assert_plain("metrics", &visible(&metrics::render(Some(&status), &metrics::registry())), "\n\t");
    }
}
