//! A mail as it was taken: raw, and read as a person's mail program would.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub from: String,
    /// The envelope's recipients, which may differ from the `To` header.
    pub to: Vec<String>,
    /// As it came, dots unstuffed, lines ending in CRLF.
    pub raw: String,
    /// In order, unfolded.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub(super) fn new(from: String, to: Vec<String>, data: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(data).into_owned();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((&raw, ""));
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let headers: Vec<(String, String)> = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let encoding = find(&headers, "Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
        let body = match encoding.as_str() {
            "quoted-printable" => quoted_printable(body),
            "base64" => base64(body),
            _ => body.to_owned(),
        };
        let body = body.replace("\r\n", "\n");
        Self { from, to, headers, body, raw }
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The subject; empty when there is none.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.header("Subject").unwrap_or_default()
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// RFC 2045, 6.7: `=XX` is a byte, `=` at the end of a line is no line break.
fn quoted_printable(text: &str) -> String {
    let bytes = text.replace("=\r\n", "").into_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = bytes.get(index + 1..index + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.filter(|_| bytes[index] == b'=').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn base64(text: &str) -> String {
    use base64::Engine;
    let packed: String = text.split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(packed);
    decoded.map_or_else(|_| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_reads_as_its_reader_sees_it() {
        let raw = b"Subject: a long\r\n subject\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsoft=\r\n \
                    break =E2=80=A6 100=\r\n%\r\n";
        let mail = Received::new("a@x".into(), vec![], raw);
        assert_eq!(mail.subject(), "a long subject");
        assert_eq!(mail.body, "soft break … 100%\n");
    }
}
