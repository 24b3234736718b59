//! A limit to nesting.
//!
//! `toml` limits brackets and the parts of a dotted key to 80 each, but not their product, and then recurses until
//! the stack is full: a few thousand bytes are enough. So a text is looked through before it is parsed. What was
//! parsed is limited as a whole, also because `config.json` could not be read back otherwise.

use toml::{Table, Value};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Tables and lists within one another, the file itself included.
const MAX: usize = 8;

/// The line with more than [`MAX`] open brackets, or dots in a key. Wrong TOML is not noticed here, but limited all
/// the same.
pub(super) fn too_deep_at(text: &str) -> Option<usize> {
    let mut closers = Vec::new();
    let mut dots = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            // What a dotted key, or a number, goes on with.
            TokenKind::Atom | TokenKind::Whitespace | TokenKind::BasicString | TokenKind::LiteralString => {}
            kind => {
                dots = 0;
                match kind {
                    TokenKind::LeftSquareBracket => closers.push(TokenKind::RightSquareBracket),
                    TokenKind::LeftCurlyBracket => closers.push(TokenKind::RightCurlyBracket),
                    // As the parser does: a closing bracket that does not fit closes nothing.
                    _ if closers.last() == Some(&kind) => drop(closers.pop()),
                    _ => {}
                }
            }
        }
        if closers.len() > MAX || dots > MAX {
            return Some(text.get(..token.span().start()).unwrap_or(text).matches('\n').count() + 1);
        }
    }
    None
}

/// What is wrong with a text or a table that is too deep.
pub(super) fn problem() -> String {
    format!("tables and lists are nested more than {MAX} deep")
}

/// At most [`MAX`] tables and lists within one another.
pub(super) fn check_table(table: &Table) -> Result<(), String> {
    if 1 + table.values().map(depth).max().unwrap_or(0) > MAX {
        return Err(problem());
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Table(table) => 1 + table.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
