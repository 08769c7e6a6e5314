//! Owns how a line of a shell falls into commands and words, as far as pages write it.

/// The commands of a text, each as its words without quotes: pipes, lists and lines separate them;
/// comments, redirections and variables that are set in front are left out.
pub(crate) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut is_redirected = false;
    let mut chars = text.chars().peekable();
    let end_word = |word: &mut Option<String>, found: &mut Vec<Vec<String>>, skip: &mut bool| {
        let Some(word) = word.take() else { return };
        let words = found.last_mut().expect("there is one");
        let sets = words.is_empty()
            && word
                .split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        if !std::mem::take(skip) && !sets {
            words.push(word);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    word.push(if c == '\\' {
                        chars.next().unwrap_or(c)
                    } else {
                        c
                    });
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '#' if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '<' | '>' => {
                end_word(&mut word, &mut found, &mut is_redirected);
                while chars.next_if(|c| ['<', '>', '&'].contains(c)).is_some() {}
                is_redirected = true;
            }
            '|' | '&' | ';' | '\n' => {
                end_word(&mut word, &mut found, &mut is_redirected);
                is_redirected = false;
                found.push(Vec::new());
            }
            c if c.is_whitespace() => end_word(&mut word, &mut found, &mut is_redirected),
            c => word.get_or_insert_default().push(c),
        }
    }
    end_word(&mut word, &mut found, &mut is_redirected);
    found.retain(|words| !words.is_empty());
    found
}

#[test]
fn lines_fall_into_words() {
    let of = |text: &str| -> Vec<String> {
        commands(text).iter().map(|words| words.join("|")).collect()
    };
    assert_eq!(of("A=b c --d 'e f' \"g \\\" h\" # i"), ["c|--d|e f|g \" h"]);
    assert_eq!(
        of("a - < b.txt | c > d && e \\\n  f\ng"),
        ["a|-", "c", "e|f", "g"]
    );
    assert_eq!(
        of("a 2>&1\n# only words\nb '{\"x\": 1}'"),
        ["a|2", "b|{\"x\": 1}"]
    );
}
