//! Owns how a plain scalar is read: as `PyYAML` does (YAML 1.1), and as YAML 1.2 readers do, so
//! that the two can be compared and a difference reported.

/// What a plain scalar means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    /// `~`, `null` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// An integer beyond what is kept exactly.
    BigInt,
    /// A floating-point number, perhaps infinite or not a number.
    Float(f64),
    /// A date or a date and time; kept as text.
    Timestamp,
    /// Text.
    Text,
}

impl Plain {
    /// Whether two readings give the same value.
    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }

    /// In words, for messages.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Null => "nothing (null)".to_owned(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Int(value) => format!("the number {value}"),
            Self::BigInt => "a very large number".to_owned(),
            Self::Float(value) => format!("the number {value}"),
            Self::Timestamp => "a date".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

/// How `PyYAML`'s `safe_load` reads a plain scalar.
pub fn yaml11(text: &str) -> Plain {
    common(text)
        .or(match text {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(Plain::Bool(true)),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(Plain::Bool(false)),
            _ => None,
        })
        .or_else(|| float11(text))
        .or_else(|| int11(text))
        .or_else(|| is_timestamp(text).then_some(Plain::Timestamp))
        .unwrap_or(Plain::Text)
}

/// How a YAML 1.2 reader (core schema) reads a plain scalar.
pub fn yaml12(text: &str) -> Plain {
    common(text)
        .or_else(|| int12(text))
        .or_else(|| float12(text))
        .unwrap_or(Plain::Text)
}

/// Whether the two readings of a plain scalar differ.
pub fn differs(text: &str) -> bool {
    !yaml11(text).same(yaml12(text))
}

/// Null, the shared booleans, infinities: the same in both.
fn common(text: &str) -> Option<Plain> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Plain::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Plain::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Plain::Float(f64::NAN),
        _ => return None,
    })
}

/// Splits off a sign: whether it is negative, whether there is one, and the rest.
fn sign(text: &str) -> (bool, bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, true, &text[1..]),
        Some(b'+') => (false, true, &text[1..]),
        _ => (false, false, text),
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Digits and underscores that start with a digit.
fn loose_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && only(text, |b| b.is_ascii_digit())
}

/// Underscores, and bytes that satisfy `accept`.
fn only(text: &str, accept: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(|b| b == b'_' || accept(b))
}

fn float(negative: bool, text: &str) -> Option<Plain> {
    let value: f64 = text.replace('_', "").parse().ok()?;
    Some(Plain::Float(if negative { -value } else { value }))
}

fn int(negative: bool, digits: &str, radix: u32) -> Option<Plain> {
    let digits = digits.replace('_', "");
    if digits.is_empty() {
        return None;
    }
    Some(match i128::from_str_radix(&digits, radix) {
        Ok(value) => ranged(if negative { -value } else { value }),
        Err(_) => Plain::BigInt,
    })
}

/// Integers that JSON keeps exactly.
fn ranged(value: i128) -> Plain {
    if value >= i128::from(i64::MIN) && value <= i128::from(u64::MAX) {
        Plain::Int(value)
    } else {
        Plain::BigInt
    }
}

/// Base-60 parts after the first, each below 60.
fn sexagesimal_tail(parts: &[&str]) -> bool {
    !parts.is_empty()
        && parts
            .iter()
            .all(|p| p.len() <= 2 && digits(p) && (p.len() == 1 || p.as_bytes()[0] < b'6'))
}

fn float11(text: &str) -> Option<Plain> {
    let (negative, signed, rest) = sign(text);
    let (whole, tail) = rest.split_once('.')?;
    if whole.contains(':') {
        let parts: Vec<&str> = whole.split(':').collect();
        let (first, others) = parts.split_first()?;
        if !loose_digits(first) || !sexagesimal_tail(others) || !only(tail, |b| b.is_ascii_digit())
        {
            return None;
        }
        let mut value = 0.0_f64;
        for part in whole.replace('_', "").split(':') {
            value = value * 60.0 + part.parse::<f64>().ok()?;
        }
        let fraction: f64 = format!("0.{}", tail.replace('_', "")).parse().ok()?;
        value += fraction;
        return Some(Plain::Float(if negative { -value } else { value }));
    }
    let (fraction, exponent) = match tail.find(['e', 'E']) {
        Some(at) => (&tail[..at], Some(&tail[at + 1..])),
        None => (tail, None),
    };
    // PyYAML wants a sign in the exponent.
    if exponent.is_some_and(|e| !e.starts_with(['-', '+']) || !digits(&e[1..])) {
        return None;
    }
    let ok = if whole.is_empty() {
        !signed && loose_digits(fraction)
    } else {
        loose_digits(whole) && only(fraction, |b| b.is_ascii_digit())
    };
    if ok { float(negative, rest) } else { None }
}

fn int11(text: &str) -> Option<Plain> {
    let (negative, _, rest) = sign(text);
    if let Some(bits) = rest.strip_prefix("0b") {
        return only(bits, |b| matches!(b, b'0' | b'1')).then(|| int(negative, bits, 2))?;
    }
    if let Some(hex) = rest.strip_prefix("0x") {
        return only(hex, |b| b.is_ascii_hexdigit()).then(|| int(negative, hex, 16))?;
    }
    if rest == "0" {
        return Some(Plain::Int(0));
    }
    if let Some(octal) = rest.strip_prefix('0') {
        let ok = !octal.is_empty() && only(octal, |b| (b'0'..=b'7').contains(&b));
        return ok.then(|| int(negative, rest, 8))?;
    }
    let parts: Vec<&str> = rest.split(':').collect();
    let (first, others) = parts.split_first()?;
    if !loose_digits(first) {
        return None;
    }
    if others.is_empty() {
        return int(negative, first, 10);
    }
    if !sexagesimal_tail(others) {
        return None;
    }
    let mut value = 0_i128;
    for part in rest.replace('_', "").split(':') {
        let next = value
            .checked_mul(60)
            .zip(part.parse::<i128>().ok())
            .and_then(|(high, low)| high.checked_add(low));
        match next {
            Some(sum) => value = sum,
            None => return Some(Plain::BigInt),
        }
    }
    Some(ranged(if negative { -value } else { value }))
}

fn int12(text: &str) -> Option<Plain> {
    if let Some(octal) = text.strip_prefix("0o") {
        let ok = !octal.is_empty() && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
        return ok.then(|| int(false, octal, 8))?;
    }
    if let Some(hex) = text.strip_prefix("0x") {
        let ok = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return ok.then(|| int(false, hex, 16))?;
    }
    let (negative, _, rest) = sign(text);
    digits(rest).then(|| int(negative, rest, 10))?
}

fn float12(text: &str) -> Option<Plain> {
    let (negative, _, rest) = sign(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if exponent.is_some_and(|e| !digits(sign(e).2)) {
        return None;
    }
    let ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    if ok { float(negative, rest) } else { None }
}

/// `2024-01-31`, or a date with a time of day.
fn is_timestamp(text: &str) -> bool {
    let date = |parts: &[&str], strict: bool| {
        let short = if strict { 2 } else { 1 };
        matches!(parts, [y, m, d] if y.len() == 4 && digits(y)
            && [m, d].iter().all(|p| (short..=2).contains(&p.len()) && digits(p)))
    };
    let Some(split) = text.find(['T', 't', ' ', '\t']) else {
        return date(&text.split('-').collect::<Vec<_>>(), true);
    };
    let rest = if text[split..].starts_with(['T', 't']) {
        &text[split + 1..]
    } else {
        text[split..].trim_start_matches([' ', '\t'])
    };
    if !date(&text[..split].split('-').collect::<Vec<_>>(), false) {
        return false;
    }
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        .unwrap_or(rest.len());
    let (clock, fraction) = rest[..end].split_once('.').unwrap_or((&rest[..end], ""));
    let parts: Vec<&str> = clock.split(':').collect();
    let clock_ok = matches!(parts.as_slice(), [h, m, s] if (1..=2).contains(&h.len())
        && m.len() == 2 && s.len() == 2 && [h, m, s].iter().all(|p| digits(p)))
        && (fraction.is_empty() || digits(fraction));
    let zone = rest[end..].trim_start_matches([' ', '\t']);
    let (_, signed, offset) = sign(zone);
    let zone_ok = match offset.split_once(':') {
        _ if !signed => zone == "Z" || (zone.is_empty() && end == rest.len()),
        Some((h, m)) => (1..=2).contains(&h.len()) && digits(h) && m.len() == 2 && digits(m),
        None => (1..=2).contains(&offset.len()) && digits(offset),
    };
    clock_ok && zone_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_pyyaml_does() {
        use Plain::{BigInt, Bool, Float, Int, Null, Text, Timestamp};
        for (text, value) in [
            ("", Null),
            ("NULL", Null),
            ("nULL", Text),
            ("Yes", Bool(true)),
            ("off", Bool(false)),
            ("y", Text),
            ("0", Int(0)),
            ("-0", Int(0)),
            ("+12", Int(12)),
            ("010", Int(8)),
            ("0o10", Text),
            ("089", Text),
            ("0b101", Int(5)),
            ("-0x1F", Int(-31)),
            ("1_000", Int(1000)),
            ("_1", Text),
            ("1:30", Int(90)),
            ("1:60", Text),
            ("-1:30:05", Int(-5405)),
            ("1:30.5", Float(90.5)),
            ("0:30", Text),
            ("1.5", Float(1.5)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            ("-.5", Text),
            ("1e3", Text),
            ("1.0e3", Text),
            ("1.0e+3", Float(1000.0)),
            ("1.10", Float(1.1)),
            ("1.2.3", Text),
            ("-.INF", Float(f64::NEG_INFINITY)),
            ("18446744073709551615", Int(u64::MAX.into())),
            ("18446744073709551616", BigInt),
            ("2024-01-31", Timestamp),
            ("2024-1-31", Text),
            ("2024-01-31 10:00:00", Timestamp),
            ("2024-1-3T1:00:00.25Z", Timestamp),
            ("2024-01-31 10:00:00 +09:00", Timestamp),
            ("2024-01-31 10:00", Text),
        ] {
            assert_eq!(yaml11(text), value, "{text}");
        }
        assert!(matches!(yaml11(".NaN"), Float(n) if n.is_nan()));
    }

    #[test]
    fn says_where_the_versions_differ() {
        for text in [
            "yes",
            "Off",
            "010",
            "0o10",
            "089",
            "0b1",
            "-0x1",
            "1_000",
            "1:30",
            "-.5",
            "1e3",
            "2024-01-31",
        ] {
            assert!(differs(text), "{text}");
        }
        for text in [
            "", "~", "true", "0", "12", "-3", "0x1F", "1.5", "1.0e+3", ".inf", ".nan", "plain",
            "1.2.3",
        ] {
            assert!(!differs(text), "{text}");
        }
    }
}
