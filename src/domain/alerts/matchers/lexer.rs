//! The words of a list of matchers. It does not know which order of them makes sense.

use std::{fmt, iter::Peekable, str::Chars};

use super::MatcherError;

pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) column: usize,
}

#[derive(PartialEq, Eq)]
pub(super) enum TokenKind {
    Open,
    Close,
    Comma,
    Operator(&'static str),
    /// A name or a value, without its quotes.
    Text(String),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TokenKind::Open => f.write_str("{"),
            TokenKind::Close => f.write_str("}"),
            TokenKind::Comma => f.write_str(","),
            TokenKind::Operator(operator) => f.write_str(operator),
            TokenKind::Text(text) => f.write_str(text),
        }
    }
}

pub(super) struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    column: usize,
}

fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable(), column: 1 }
    }

    /// The column of the character that comes next.
    pub(super) fn column(&self) -> usize {
        self.column
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.column += 1;
        Some(c)
    }

    /// `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token>, MatcherError> {
        while self.rest.peek().is_some_and(|c| c.is_whitespace()) {
            self.take();
        }
        let column = self.column;
        let Some(&c) = self.rest.peek() else { return Ok(None) };
        let kind = match c {
            '{' => self.single(TokenKind::Open),
            '}' => self.single(TokenKind::Close),
            ',' => self.single(TokenKind::Comma),
            '=' | '!' => TokenKind::Operator(self.operator(column)?),
            '"' => TokenKind::Text(self.quoted(column)?),
            c if !is_reserved(c) => TokenKind::Text(self.unquoted()),
            other => {
                return Err(MatcherError::new(column, format!("'{other}' has to stand inside double quotes")));
            }
        };
        Ok(Some(Token { kind, column }))
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.take();
        kind
    }

    fn operator(&mut self, column: usize) -> Result<&'static str, MatcherError> {
        let first = self.take();
        let second = self.rest.peek().copied().filter(|c| matches!(c, '=' | '~'));
        let operator = match (first, second) {
            (Some('='), Some('~')) => "=~",
            (Some('='), _) => return Ok("="),
            (_, Some('=')) => "!=",
            (_, Some(_)) => "!~",
            (_, None) => return Err(MatcherError::new(column, "'!' has to be followed by = or ~")),
        };
        self.take();
        Ok(operator)
    }

    fn unquoted(&mut self) -> String {
        let mut text = String::new();
        while let Some(&c) = self.rest.peek()
            && !is_reserved(c)
        {
            text.push(c);
            self.take();
        }
        text
    }

    fn quoted(&mut self, column: usize) -> Result<String, MatcherError> {
        self.take();
        // Escapes can spell single bytes, so the text is UTF-8 only when it is complete.
        let mut bytes = Vec::new();
        loop {
            match self.take() {
                None => return Err(MatcherError::new(column, "this quote is never closed")),
                Some('"') => break,
                Some('\\') => self.escape(&mut bytes)?,
                Some(c) => push(&mut bytes, c),
            }
        }
        String::from_utf8(bytes).map_err(|_| MatcherError::new(column, "the escapes in quotes do not make UTF-8"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), MatcherError> {
        let column = self.column - 1;
        let never_closed = || MatcherError::new(column, "the text ends after a backslash");
        match self.take().ok_or_else(never_closed)? {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'v' => bytes.push(11),
            'f' => bytes.push(12),
            'r' => bytes.push(b'\r'),
            '\\' => bytes.push(b'\\'),
            '"' => bytes.push(b'"'),
            'x' => bytes.push(u8::try_from(self.hexadecimal(2, column)?).expect("two digits make a byte")),
            'u' => self.code_point(4, column, bytes)?,
            'U' => self.code_point(8, column, bytes)?,
            // The older syntax: a backslash that escapes nothing is a backslash, which `"\d+"` needs.
            other => {
                bytes.push(b'\\');
                push(bytes, other);
            }
        }
        Ok(())
    }

    fn code_point(&mut self, digits: u32, column: usize, bytes: &mut Vec<u8>) -> Result<(), MatcherError> {
        let number = self.hexadecimal(digits, column)?;
        let c = char::from_u32(number).ok_or_else(|| MatcherError::new(column, "not a character of Unicode"))?;
        push(bytes, c);
        Ok(())
    }

    fn hexadecimal(&mut self, digits: u32, column: usize) -> Result<u32, MatcherError> {
        let mut number = 0;
        for _ in 0..digits {
            let digit = self.take().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or_else(|| MatcherError::new(column, format!("needs {digits} hexadecimal digits")))?;
            number = number * 16 + digit;
        }
        Ok(number)
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
