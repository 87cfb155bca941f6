//! docs/pack-users.md says of every command and flag of pack what hoist makes of it. What it says is compared with hoist's own help.

mod support;

use std::collections::BTreeSet;

use support::{bare_hoist, root_dir, run};

/// One row of a table below a heading "### `pack …`".
struct Row {
    command: Vec<String>,
    flags: Vec<String>,
    verdict: String,
}

const VERDICTS: [&str; 4] = ["same", "differs", "not yet", "no meaning"];

fn rows(page: &str) -> Vec<Row> {
    let mut command = None;
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            command = title
                .trim_matches('`')
                .strip_prefix("pack ")
                .map(|words| words.split(' ').map(str::to_owned).collect());
        } else if line.starts_with('#') {
            command = None;
        }
        let (Some(command), Some(cells)) = (&command, line.strip_prefix("| ")) else { continue };
        let mut cells = cells.split(" | ");
        let (flags, verdict) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let flags: Vec<String> = flags.split('`').filter(|word| word.starts_with("--")).map(str::to_owned).collect();
        if !flags.is_empty() {
            rows.push(Row { command: Vec::clone(command), flags, verdict: verdict.trim_end_matches(" |").to_owned() });
        }
    }
    rows
}

/// The long options that the help of a command shows; nothing if there is no such command.
fn shown(command: &[String]) -> Option<BTreeSet<String>> {
    let said = run(bare_hoist().args(command).arg("--help"));
    (said.code == 0).then(|| {
        let options = said.stdout.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let words =
            options.flat_map(|line| line.split([' ', ',']).take_while(|word| word.is_empty() || word.starts_with('-')));
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    })
}

#[test]
fn the_page_for_users_of_pack_says_what_the_commands_do() {
    let page = fs_err::read_to_string(root_dir().join("docs/pack-users.md")).expect("the page");
    let rows = rows(&page);
    assert!(rows.len() > 40, "the tables are not found: {} rows", rows.len());
    for row in rows {
        let (name, help) = (row.command.join(" "), shown(&row.command));
        let verdict = VERDICTS.iter().find(|verdict| row.verdict.starts_with(*verdict));
        let verdict = *verdict.unwrap_or_else(|| panic!("{name} {:?}: no verdict in `{}`", row.flags, row.verdict));
        for flag in &row.flags {
            let there = help.as_ref().is_some_and(|help| help.contains(flag));
            if ["same", "differs"].contains(&verdict) {
                assert!(there, "the page says that {name} {flag} exists, and the help does not show it");
            }
        }
    }
}
