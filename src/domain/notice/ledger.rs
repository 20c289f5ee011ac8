//! The mail about the ledger itself. It is no notice of a validator's: where its record cannot be read none can wait.

use super::{Context, Message, layout::Body};
use crate::domain::{Time, clock, one_line, visible};

/// Writes the mail about these troubles of the ledger, each a sentence with its remedy.
#[must_use]
pub fn ledger_mail(troubles: &[&str], at: Time, context: &Context<'_>) -> Message {
    let mut body = Body::default();
    body.say(
        "Something is wrong with the ledger, in which failover keeps what it knows. What cannot be read is not acted on: \
         nothing is created or deleted by it until somebody has looked.",
    );
    body.list("What was seen:", troubles.iter().copied());
    body.command("To look at all of it, and for what to do:", &format!("{} ledger verify", context.cli));
    body.facts(&[("Site", context.site.to_owned()), ("Written", clock(at))]);
    let first = troubles.first().copied().unwrap_or_default();
    let subject = format!("[failover {}] the ledger needs you: {first}", context.site);
    Message { subject: one_line(&subject, 160), body: visible(&body.finish()), at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hostile;

    #[test]
    fn what_a_ledger_holds_is_not_raw_in_its_mail() {
        let text = hostile::flood();
        let message = ledger_mail(&[&text, &text], Time::UNIX_EPOCH, &Context { site: "home", cli: "failover" });
        hostile::assert_plain("subject", &message.subject, "");
        hostile::assert_plain("body", &message.body.replace('\n', " "), "");
        assert!(message.subject.chars().count() <= 160);
    }
}
