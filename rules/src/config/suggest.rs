//! Owns "did you mean": the nearest of a set of names.

/// The candidate nearest to `given`, if one is near enough to be what was meant.
pub(crate) fn nearest<'c>(
    given: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // A name this long is not a typing error, and the distance is quadratic.
    if given.len() > 80 {
        return None;
    }
    let folded = fold(given);
    let limit = match folded.chars().count() {
        0 => return None,
        1..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        long => long / 3,
    };
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 80)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&folded, &fold(candidate)),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and separators are what people most often get wrong.
fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' ' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_what_was_meant_and_nothing_else() {
        let names = ["neural_net", "export", "upload", "smart_tool", "custom"];
        for (given, meant) in [
            ("neuralnet", Some("neural_net")),
            ("Neural Net", Some("neural_net")),
            ("exprot", Some("export")),
            ("segmentation", None),
            ("", None),
            ("__", None),
        ] {
            assert_eq!(nearest(given, names), meant, "{given}");
        }
    }
}
