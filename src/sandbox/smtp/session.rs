//! One SMTP session (RFC 5321), as much of it as a client like ours uses.

use std::{io, sync::Arc};

use base64::Engine;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Cut, Received, Shared};

/// The longest command line; RFC 5321 asks for 512 at least.
const MAX_LINE: u64 = 4096;
/// The largest mail; ours have a few kilobytes.
const MAX_MAIL: usize = 1 << 20;

/// What has been said since the last MAIL.
#[derive(Default)]
struct Transaction {
    from: Option<String>,
    to: Vec<String>,
}

/// Speaks until the client leaves. An I/O error is the client's leaving, too.
pub(super) async fn run(socket: TcpStream, shared: Arc<Shared>) {
    let _ = converse(BufReader::new(socket), &shared).await;
}

async fn converse(mut stream: BufReader<TcpStream>, shared: &Shared) -> io::Result<()> {
    if shared.faults().hang {
        // Until the client gives up.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        return Ok(());
    }
    let greeting = shared.scripted("CONNECT");
    say(&mut stream, greeting.as_deref().unwrap_or("220 sandbox ESMTP")).await?;
    let mut transaction = Transaction::default();
    let mut trusted = shared.login.is_none();
    while let Some(line) = read_line(&mut stream).await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if let Some(reply) = shared.scripted(&line) {
            say(&mut stream, &reply).await?;
            if reply.starts_with("421") {
                return Ok(());
            }
            continue;
        }
        let answer = match verb.to_ascii_uppercase().as_str() {
            "EHLO" if shared.login.is_some() => "250-sandbox\r\n250-8BITMIME\r\n250 AUTH PLAIN".to_owned(),
            "EHLO" => "250-sandbox\r\n250 8BITMIME".to_owned(),
            "HELO" => "250 sandbox".to_owned(),
            "AUTH" => match login(rest) {
                Some(given) if shared.login.as_ref() == Some(&given) => {
                    trusted = true;
                    "235 welcome".to_owned()
                }
                Some(_) => "535 wrong user name or password".to_owned(),
                None => "504 only AUTH PLAIN with an initial response".to_owned(),
            },
            "MAIL" if !trusted => "530 log in first".to_owned(),
            "MAIL" if shared.take_cut(Cut::AtMail) => return Ok(()),
            "MAIL" if transaction.from.is_some() => "503 one mail at a time".to_owned(),
            "MAIL" => {
                transaction.from = Some(path(rest));
                "250 ok".to_owned()
            }
            "RCPT" if transaction.from.is_none() => "503 MAIL first".to_owned(),
            "RCPT" => {
                transaction.to.push(path(rest));
                "250 ok".to_owned()
            }
            "DATA" if transaction.to.is_empty() => "503 RCPT first".to_owned(),
            "DATA" => {
                say(&mut stream, "354 end with a dot alone").await?;
                let Some(data) = read_data(&mut stream).await? else { return Ok(()) };
                let Transaction { from, to } = std::mem::take(&mut transaction);
                if data.len() > MAX_MAIL {
                    "552 5.3.4 too large".to_owned()
                } else if let Some(reply) = shared.scripted(".") {
                    reply
                } else {
                    let mail = Received::new(from.unwrap_or_default(), to.clone(), &data);
                    shared.mails.send_modify(|mails| mails.push(mail));
                    if shared.take_cut(Cut::ReplyToData) {
                        return Ok(());
                    }
                    shared.released(&to).await;
                    "250 taken".to_owned()
                }
            }
            "RSET" => {
                transaction = Transaction::default();
                "250 ok".to_owned()
            }
            "NOOP" => "250 ok".to_owned(),
            "QUIT" => {
                say(&mut stream, "221 bye").await?;
                return Ok(());
            }
            _ => "502 not implemented here".to_owned(),
        };
        say(&mut stream, &answer).await?;
    }
    Ok(())
}

async fn say(stream: &mut BufReader<TcpStream>, answer: &str) -> io::Result<()> {
    stream.write_all(format!("{answer}\r\n").as_bytes()).await
}

/// One line with its end, or nothing when the client has left or the line is too long to be one.
async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// Reads to the dot that stands alone. A dot before a line's own first dot is taken away (RFC 5321, 4.5.2).
async fn read_data(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut data = Vec::new();
    while let Some(line) = read_line(stream).await? {
        if line == b".\r\n" {
            return Ok(Some(data));
        }
        if data.len() <= MAX_MAIL {
            data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
    Ok(None)
}

fn path(rest: &str) -> String {
    let inside = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inside, _)| inside);
    inside.unwrap_or_default().to_owned()
}

/// User name and password of `PLAIN <base64 of \0user\0password>`.
fn login(rest: &str) -> Option<(String, String)> {
    let packed = rest.strip_prefix("PLAIN ")?.trim();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut parts = text.splitn(3, '\0').skip(1);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}
