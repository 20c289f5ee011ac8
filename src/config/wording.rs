//! The YAML parser's complaints in an operator's words, with what to write instead.
//!
//! It changes words only; the place is the parser's. A complaint it does not know is passed on as it is.

/// Says what a complaint means to somebody who edits a file and has never seen a deserializer.
pub(super) fn in_words(complaint: &str) -> String {
    let complaint = complaint.trim();
    // The position stands before the message already.
    let complaint = complaint.rfind(" at line ").map_or(complaint, |end| &complaint[..end]).trim_end();
    if let Some((key, _)) = complaint.strip_prefix("duplicate mapping key: ").and_then(|rest| rest.split_once(", set "))
    {
        return format!("duplicate key '{key}' in this section; remove one of them");
    }
    if let Some((key, choice)) = unknown(complaint, "unknown field `", "`, expected ") {
        let near = nearest(key, choice).map(|near| format!("did you mean '{near}'? ")).unwrap_or_default();
        return format!("unknown key '{key}': {near}This section has {}", choice.trim_start_matches("one of "));
    }
    if let Some((word, choice)) = unknown(complaint, "unknown variant `", "`, expected ") {
        return format!("'{word}' is not one of the choices here: write {}", choice.replace("one of ", "one of: "));
    }
    if let Some(key) = complaint.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("the key '{key}' is missing in this section: add it");
    }
    match complaint {
        "invalid floating point" => "this has to be a number".into(),
        "invalid u16" => "this has to be a whole number from 0 to 65535".into(),
        "invalid u32" | "invalid u64" => "this has to be a whole number, 0 or more".into(),
        "expected mapping start" => "this has to be a section: lines 'key: value', or {key: value}".into(),
        "expected sequence start" => "this has to be a list: lines '- …', or […]".into(),
        "expected end of mapping after enum variant value" => {
            "only one of the choices can be written here: remove the others".into()
        }
        other => other.to_owned(),
    }
}

fn unknown<'a>(complaint: &'a str, start: &str, middle: &str) -> Option<(&'a str, &'a str)> {
    complaint.strip_prefix(start)?.split_once(middle)
}

/// The known key that differs least, if it differs little.
fn nearest<'a>(key: &str, known: &'a str) -> Option<&'a str> {
    let known = known.trim_start_matches("one of ").split(", ").map(|key| key.trim_matches('`'));
    known
        .map(|known| (strsim::levenshtein(key, known), known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_answered_with_the_one_that_was_meant() {
        let said = in_words("unknown field `polcy`, expected one of site, mode, policy at line 4, column 1");
        assert_eq!(said, "unknown key 'polcy': did you mean 'policy'? This section has site, mode, policy");
        let said = in_words("unknown field `something`, expected `url`");
        assert_eq!(said, "unknown key 'something': This section has `url`");
    }

    #[test]
    fn a_complaint_that_is_not_known_is_not_swallowed() {
        assert_eq!(in_words("something new"), "something new");
    }
}
