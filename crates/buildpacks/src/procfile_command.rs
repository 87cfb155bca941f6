//! A command of a Procfile as a process: without a shell where it needs none, so that signals reach the program and the image needs no
//! shell; leading assignments become its environment. Where operators, expansions or a shell's own words occur, `bash -c` runs it.

/// How a command is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    /// `NAME=value` that stood before the program; empty where a shell sets them.
    pub(crate) environment: Vec<(String, String)>,
}

/// A command that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("a quote is opened and not closed")]
    OpenQuote,
    #[error("there are assignments, and no program behind them")]
    NoProgram,
}

/// Words that only a shell knows.
const SHELL_WORDS: &[&str] = &[
    ".", ":", "[", "[[", "{", "}", "!", "alias", "case", "cd", "eval", "exec", "exit", "export", "for", "function",
    "if", "read", "set", "shift", "source", "test", "time", "trap", "ulimit", "umask", "unset", "until", "wait",
    "while",
];

/// Takes a command apart as a shell would; none of it is expanded.
pub(crate) fn parse(text: &str) -> Result<Command, CommandError> {
    let Some(mut words) = words(text)? else { return Ok(by_shell(text)) };
    let count = words.iter().take_while(|word| assignment(word).is_some()).count();
    let argv: Vec<String> = words.split_off(count).into_iter().map(|word| word.text).collect();
    let program = argv.first().ok_or(CommandError::NoProgram)?;
    if SHELL_WORDS.contains(&program.as_str()) {
        return Ok(by_shell(text));
    }
    let environment =
        words.iter().filter_map(assignment).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Command { argv, environment })
}

fn by_shell(text: &str) -> Command {
    Command { argv: vec!["bash".to_owned(), "-c".to_owned(), text.to_owned()], environment: Vec::new() }
}

/// A word without its quotes, and how many of its first bytes stood outside of quotes.
struct Word {
    text: String,
    bare_bytes: usize,
}

/// Whether a shell could set a variable of this name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn assignment(word: &Word) -> Option<(&str, &str)> {
    let (name, value) = word.text.split_once('=')?;
    (is_variable_name(name) && name.len() < word.bare_bytes).then_some((name, value))
}

/// The words; none where only a shell can tell.
fn words(text: &str) -> Result<Option<Vec<Word>>, CommandError> {
    let mut found = Vec::new();
    let mut current: Option<Word> = None;
    let mut chars = text.chars().peekable();
    let mut shell = false;
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            found.extend(current.take());
            continue;
        }
        if c == '#' && current.is_none() {
            break; // a comment, as the shell has it
        }
        let begins = current.is_none();
        let word = current.get_or_insert_with(|| Word { text: String::new(), bare_bytes: 0 });
        let all_bare = word.bare_bytes == word.text.len();
        match c {
            '\'' => loop {
                match chars.next().ok_or(CommandError::OpenQuote)? {
                    '\'' => break,
                    inner => word.text.push(inner),
                }
            },
            '"' => loop {
                match chars.next().ok_or(CommandError::OpenQuote)? {
                    '"' => break,
                    '\\' if matches!(chars.peek(), Some('"' | '\\' | '$' | '`')) => word.text.extend(chars.next()),
                    inner => {
                        shell |= matches!(inner, '$' | '`');
                        word.text.push(inner);
                    }
                }
            },
            '\\' => word.text.extend(chars.next()),
            _ => {
                shell |= matches!(
                    c,
                    '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | ']' | '{' | '}'
                ) || (c == '~' && (begins || word.text.ends_with(['=', ':'])));
                word.text.push(c);
                if all_bare {
                    word.bare_bytes = word.text.len();
                }
            }
        }
    }
    found.extend(current);
    Ok((!shell).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(text: &str) -> (Vec<String>, Vec<(String, String)>) {
        let command = parse(text).unwrap();
        assert_ne!(command.argv[0], "bash", "{text}");
        (command.argv, command.environment)
    }

    #[test]
    fn a_plain_command_needs_no_shell() {
        assert_eq!(direct("python -m app # note").0, ["python", "-m", "app"]);
        assert_eq!(
            direct("gunicorn 'a b' \"c: \\\"d\\\"\" e\\ f x#y").0,
            ["gunicorn", "a b", "c: \"d\"", "e f", "x#y"]
        );
        assert_eq!(direct("cmd '' a=b").0, ["cmd", "", "a=b"]);
    }

    #[test]
    fn leading_assignments_become_the_environment() {
        let (argv, environment) = direct("NAME=Robert MODE=\"a b\" python x.py B=2");
        assert_eq!(argv, ["python", "x.py", "B=2"]);
        assert_eq!(environment, [("NAME".to_owned(), "Robert".to_owned()), ("MODE".to_owned(), "a b".to_owned())]);
        assert_eq!(direct("'A=b' c").0, ["A=b", "c"]);
        assert_eq!(parse("A=b"), Err(CommandError::NoProgram));
    }

    #[test]
    fn a_shell_runs_what_only_a_shell_can() {
        for text in [
            "gunicorn --bind 0.0.0.0:$PORT app:app",
            "a && b",
            "a | b",
            "a > /dev/null",
            "cd app",
            "python \"$X\"",
            "echo `date`",
            "ls *.py",
            "cat ~/x",
            "A=$B python x",
            "a; b",
            "echo {1,2}",
        ] {
            assert_eq!(parse(text).unwrap(), by_shell(text));
        }
        assert_eq!(direct("echo '$HOME' '*'").0, ["echo", "$HOME", "*"]);
        assert_eq!(parse("echo 'a"), Err(CommandError::OpenQuote));
    }
}
