//! Owns server-sent events: how the bytes of a stream become events, wherever they are cut.

/// Longest event, in bytes; what is longer is no event of ours.
const LONGEST: usize = 128 << 20;

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its id, with which a stream goes on after it; that of the last one that had one.
    pub id: Option<String>,
    /// Its kind; `message` where none is named.
    pub kind: String,
    /// What it says.
    pub data: String,
}

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Events {
    /// The begun line.
    line: Vec<u8>,
    /// The line before ended with CR, of which LF may be the rest.
    ended: bool,
    id: Option<String>,
    kind: String,
    data: Option<String>,
    too_long: bool,
}

impl Events {
    /// Takes more of the stream; returns the events that ended in it.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<ServerEvent> {
        let mut found = Vec::new();
        for byte in bytes {
            let rest = std::mem::take(&mut self.ended);
            match byte {
                b'\n' if rest => {}
                b'\n' | b'\r' => {
                    self.ended = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    found.extend(self.line(&String::from_utf8_lossy(&line)));
                }
                _ if self.line.len() >= LONGEST => self.too_long = true,
                byte => self.line.push(*byte),
            }
        }
        found
    }

    /// Whether the stream is none that can be read on.
    pub fn is_broken(&self) -> bool {
        self.too_long
    }

    fn line(&mut self, line: &str) -> Option<ServerEvent> {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let data = self.data.take()?;
            let kind = if kind.is_empty() {
                "message".to_owned()
            } else {
                kind
            };
            return Some(ServerEvent {
                id: self.id.clone(),
                kind,
                data,
            });
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => {
                let data = self.data.get_or_insert_default();
                if data.len() + value.len() > LONGEST {
                    self.too_long = true;
                    return None;
                }
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            // Comments, and what a later version adds.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = "retry: 1000\n\n: a comment\nevent: log\nid: 1-0\ndata: {\"a\": \"é\"}\n\n\
                      data: one\r\ndata:two\r\n\r\nevent: end\rid: 2-9\rdata\r\rdata: unended";
        let expected = [
            ("1-0", "log", "{\"a\": \"é\"}"),
            ("1-0", "message", "one\ntwo"),
            ("2-9", "end", ""),
        ];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let found: Vec<ServerEvent> = stream
                .as_bytes()
                .chunks(size)
                .flat_map(|bytes| events.feed(bytes))
                .collect();
            let found: Vec<_> = found
                .iter()
                .map(|event| {
                    let id = event.id.as_deref().unwrap_or_default();
                    (id, event.kind.as_str(), event.data.as_str())
                })
                .collect();
            assert_eq!(found, expected, "{size}");
            assert!(!events.is_broken());
        }
    }
}
