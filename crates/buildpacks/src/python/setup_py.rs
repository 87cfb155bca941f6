//! `python_requires` of a `setup.py`, read without running it: a text behind the keyword, in a dictionary, or behind a name that the file gives a text
//! once. What is computed in another way is not known here, and asks for nothing.

use super::sources::Asked;

/// A token of Python, as far as this needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    /// A plain text; nothing for one with a prefix that computes it (`f`, `b`).
    Text(Option<String>),
    Sign(char),
}

const KEY: &str = "python_requires";

/// Finds it, with its line.
pub(super) fn python_requires(text: &str) -> Option<Asked> {
    let tokens = tokens(text);
    let sign = |at: usize, wanted: char| matches!(tokens.get(at), Some((Token::Sign(sign), _)) if *sign == wanted);
    let is_keyword = |at: usize| {
        let is_name = matches!(&tokens[at].0, Token::Name(name) if name == KEY);
        let is_text = matches!(&tokens[at].0, Token::Text(Some(text)) if text == KEY);
        (is_name && sign(at + 1, '=') && !sign(at + 2, '=')) || (is_text && sign(at + 1, ':'))
    };
    let at = (0..tokens.len()).find(|at| is_keyword(*at))?;
    let line = tokens[at].1;
    let (value, line) = match &tokens.get(at + 2)?.0 {
        Token::Text(_) => (value_at(&tokens, at + 2)?, line),
        Token::Name(constant) if sign(at + 3, ',') || sign(at + 3, ')') || sign(at + 3, '}') => {
            let is_it =
                |at: &usize| matches!(&tokens[*at].0, Token::Name(name) if name == constant) && sign(at + 1, '=');
            let given: Vec<usize> = (0..tokens.len()).filter(is_it).filter(|at| !sign(at + 2, '=')).collect();
            let [given] = given[..] else { return None };
            (value_at(&tokens, given + 2)?, tokens[given].1)
        }
        _ => return None,
    };
    let text = value.trim().to_owned();
    (!text.is_empty()).then_some(Asked { line: Some(line), key: KEY, text })
}

/// Texts that stand behind each other are one; nothing when something is done with them.
fn value_at(tokens: &[(Token, usize)], mut at: usize) -> Option<String> {
    let mut value = String::new();
    let start = at;
    while let Some((Token::Text(text), _)) = tokens.get(at) {
        value.push_str(text.as_deref()?);
        at += 1;
    }
    let is_used = matches!(tokens.get(at), Some((Token::Sign('.' | '%' | '+' | '*' | '['), _)));
    (at > start && !is_used).then_some(value)
}

fn tokens(text: &str) -> Vec<(Token, usize)> {
    let letters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&letter) = letters.get(at) {
        if letter == '\n' {
            line += 1;
            at += 1;
        } else if letter == '#' {
            while letters.get(at).is_some_and(|letter| *letter != '\n') {
                at += 1;
            }
        } else if letter == '"' || letter == '\'' {
            let (text, end, lines) = text_at(&letters, at, false);
            found.push((Token::Text(Some(text)), line));
            (at, line) = (end, line + lines);
        } else if letter.is_alphabetic() || letter == '_' {
            let start = at;
            while letters.get(at).is_some_and(|letter| letter.is_alphanumeric() || *letter == '_') {
                at += 1;
            }
            let name: String = letters[start..at].iter().collect();
            let prefix = name.to_ascii_lowercase();
            let is_prefix = matches!(prefix.as_str(), "r" | "u" | "b" | "f" | "br" | "rb" | "fr" | "rf");
            if is_prefix && letters.get(at).is_some_and(|letter| matches!(letter, '"' | '\'')) {
                let (text, end, lines) = text_at(&letters, at, prefix.contains('r'));
                let is_plain = matches!(prefix.as_str(), "r" | "u");
                found.push((Token::Text(is_plain.then_some(text)), line));
                (at, line) = (end, line + lines);
            } else {
                found.push((Token::Name(name), line));
            }
        } else {
            if !letter.is_whitespace() && letter != '\\' {
                found.push((Token::Sign(letter), line));
            }
            at += 1;
        }
    }
    found
}

/// A text between quotes: what stands in it, where it ends, and over how many lines it goes.
fn text_at(letters: &[char], start: usize, is_raw: bool) -> (String, usize, usize) {
    let quote = letters[start];
    let is_long = letters.get(start + 1) == Some(&quote) && letters.get(start + 2) == Some(&quote);
    let width = if is_long { 3 } else { 1 };
    let (mut text, mut at, mut lines) = (String::new(), start + width, 0);
    while let Some(&letter) = letters.get(at) {
        let closes = letter == quote && (0..width).all(|more| letters.get(at + more) == Some(&quote));
        if closes {
            return (text, at + width, lines);
        }
        if letter == '\n' {
            if !is_long {
                break;
            }
            lines += 1;
        }
        if letter == '\\' && letters.get(at + 1).is_some_and(|next| *next != '\n') {
            at += 1;
            if is_raw {
                text.push('\\');
            }
        }
        text.extend(letters.get(at));
        at += 1;
    }
    (text, at, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<(usize, String)> {
        python_requires(text).map(|asked| (asked.line.unwrap(), asked.text))
    }

    #[test]
    fn a_text_is_found_wherever_people_put_it() {
        let is = |line: usize, text: &str| Some((line, text.to_owned()));
        assert_eq!(
            said("from setuptools import setup\nsetup(\n    name='x',\n    python_requires='>=3.8',\n)\n"),
            is(4, ">=3.8")
        );
        assert_eq!(said("setup(python_requires=\">=3.7, \"\n  '<3.12')"), is(1, ">=3.7, <3.12"));
        assert_eq!(said("REQUIRES_PYTHON = '>=3.6.0'\n\nsetup(python_requires=REQUIRES_PYTHON,\n)"), is(1, ">=3.6.0"));
        assert_eq!(said("kwargs = {\n 'python_requires': r'~=3.9',\n}\nsetup(**kwargs)"), is(2, "~=3.9"));
        assert_eq!(said("\"\"\"Docs:\npython_requires='>=2'\n\"\"\"\nsetup(python_requires = '>=3')"), is(4, ">=3"));
    }

    #[test]
    fn what_is_computed_or_only_talked_about_asks_for_nothing() {
        for text in [
            "# python_requires='>=3.8'\nsetup()",
            "setup(long_description=\"python_requires='>=2'\")",
            "setup(python_requires=f'>={LEAST}')",
            "setup(python_requires='>=%s' % LEAST)",
            "setup(python_requires='>=' + LEAST)",
            "setup(python_requires='>={}'.format(LEAST))",
            "setup(python_requires=read('python.txt'))",
            "A = '>=3.8'\nA = '>=3.9'\nsetup(python_requires=A)",
            "if python_requires == '>=3': pass",
            "setup(python_requires='')",
            "setup(python_requires=",
            "'''never closed python_requires='>=3'",
            "",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }
}
