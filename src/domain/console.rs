//! The end of what a machine's serial port has printed, fit to be mailed.

use super::Lines;

/// The last lines, without the sequences that colour a terminal. They are bounded by their type.
pub fn console_tail(console: &str) -> Lines {
    const LINES: usize = 10;
    let mut lines: Vec<String> = console.lines().rev().map(plain).filter(|line| !line.is_empty()).take(LINES).collect();
    lines.reverse();
    if lines.is_empty() {
        lines.push("its serial port has printed nothing".into());
    }
    lines.into_iter().collect()
}

/// One line without escape sequences and control characters.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.next_if_eq(&'[').is_some() {
            while rest.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            rest.next();
        } else if !c.is_control() {
            text.push(c);
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::console_tail;

    #[test]
    fn the_last_lines_of_a_console_are_kept_without_colours_and_control_characters() {
        let text = "old\n".repeat(50) + "\u{1b}[0;32m  OK  \u{1b}[0m Started\r\n\u{7}bell\n\n";
        let lines: Vec<String> = console_tail(&text).iter().map(str::to_owned).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(&lines[8..], ["OK Started", "bell"]);
        assert_eq!(console_tail("").iter().collect::<Vec<_>>(), ["its serial port has printed nothing"]);
    }
}
