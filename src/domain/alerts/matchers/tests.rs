//! The syntax, case by case, as Alertmanager 0.28's own `amtool` reads it (compared in `tests/real/alertmanager.rs`).

use proptest::prelude::*;

use super::{Labels, MatcherError, Matchers};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn matchers(text: &str) -> Matchers {
    text.parse().unwrap_or_else(|error: MatcherError| panic!("{text}: {error}"))
}

#[test]
fn every_way_of_writing_the_same_matcher_is_the_same() {
    for text in ["{foo=bar}", "foo=bar", "foo=\"bar\"", "{\"foo\"=\"bar\",}", "foo=bar,", " { foo = bar , } "] {
        assert_eq!(matchers(text).to_string(), "{foo=\"bar\"}", "{text}");
    }
}

#[test]
fn all_conditions_have_to_hold_and_a_missing_label_is_empty() {
    let all = matchers(r#"{alertname="Down", namespace=~"eth.*", severity!="info", pod!~"test-.*"}"#);
    let good = [("alertname", "Down"), ("namespace", "eth-0"), ("pod", "vc-0")];
    assert!(all.matches(&labels(&good)));
    for bad in [("alertname", "Up"), ("namespace", "xeth"), ("severity", "info"), ("pod", "test-1")] {
        let mut with = labels(&good);
        with.insert(bad.0.into(), bad.1.into());
        assert!(!all.matches(&with), "{bad:?}");
    }
    assert!(matchers("severity=\"\"").matches(&labels(&good)));
    assert!(!matchers("severity!=\"\"").matches(&labels(&good)));
}

#[test]
fn expressions_match_the_whole_value() {
    let all = matchers("pod=~a|b");
    assert!(all.matches(&labels(&[("pod", "b")])));
    for other in ["ab", "ba", "xb", "b\n"] {
        assert!(!all.matches(&labels(&[("pod", other)])), "{other:?}");
    }
    assert!(matchers(r#"pod=~"vc-\d+""#).matches(&labels(&[("pod", "vc-12")])));
}

#[test]
fn names_and_values_may_be_any_utf_8() {
    let all = matchers(r#"{"großer name"=🙂, x="\xf0\x9f\x99\x82\U0001f642\u00e9\n\"\\"}"#);
    assert!(all.matches(&labels(&[("großer name", "🙂"), ("x", "🙂🙂é\n\"\\")])));
}

#[test]
fn a_wrong_text_is_refused_with_the_column() {
    for (text, column, part) in [
        ("", 1, "every alert would match"),
        ("{}", 1, "every alert would match"),
        (",", 1, "label name"),
        ("{,}", 2, "label name"),
        ("{", 1, "never closed"),
        ("}", 1, "without an opening"),
        ("foo=bar}", 8, "without an opening"),
        ("{foo=bar", 1, "never closed"),
        ("{foo=bar} x", 11, "after the closing brace"),
        ("foo", 1, "= != =~ !~"),
        ("foo bar", 5, "= != =~ !~"),
        ("foo=", 5, "needs a value"),
        ("foo=,", 5, "needs a value"),
        ("foo!bar", 4, "followed by = or ~"),
        ("foo=a b", 7, "double quotes"),
        ("foo=bar\\n", 8, "double quotes"),
        ("foo='bar'", 5, "double quotes"),
        ("foo=\"bar", 5, "never closed"),
        ("foo=\"bar\\", 9, "backslash"),
        ("foo=\"\\xf0\\x9f\"", 5, "UTF-8"),
        ("foo=\"\\u12\"", 6, "4 hexadecimal digits"),
        ("foo=\"\\ud800\"", 6, "Unicode"),
        ("\"\"=x", 1, "label name"),
        ("foo=~\"(\"", 6, "unclosed group"),
        ("foo=~\"(a{1000}){1000}\"", 6, "too large"),
    ] {
        let error = text.parse::<Matchers>().expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
    assert!("a".repeat(5_000).parse::<Matchers>().is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_writes_it_reads_the_same(text in "[{}a=~!,\"\\\\x0 é|]{0,24}") {
        if let Ok(all) = text.parse::<Matchers>() {
            prop_assert_eq!(all.to_string().parse::<Matchers>(), Ok(all));
        }
    }
}
